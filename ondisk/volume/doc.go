// Package volume finds out what lies on a device: the superblock of a covol volume, whole or from a copy, or the name
// of what else is there. It only reads.
//
// The superblock is in block 0, with copies in block 8 and in the last block. Open takes the first of the three that
// is valid and says so when that was not the primary one: a volume on a copy is whole, but somebody should look at the
// device. A volume of another version or with an unknown incompatible feature is refused wherever that is found: the
// bytes are whole and mean it.
package volume
