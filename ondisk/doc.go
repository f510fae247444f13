// Package ondisk is the format of a covol volume: bytes only. It has no I/O, no clock and no goroutine.
//
// FORMAT.md is the specification. Its tables come from the Layout of each structure, the codecs are written by
// hand and held to the same tables by tests, and the dumper walks them too, so that none can drift.
//
// # Shape of a volume
//
// The unit of metadata is the block, 4 KiB, numbered from the start of the volume. The unit of file data is the
// cluster, 4 KiB to 1 MiB, numbered likewise, so that cluster c covers blocks c*k .. c*k+k-1.
//
//	block 0        superblock; copies in block 8 and in the last block of the volume
//	block 9        grow block: how many groups have been formatted
//	block 10       record of the root directory
//	block 16       view block (epoch)
//	ballots        one block per slot, for arbitration without compare-and-swap
//	slots          one block per slot: heartbeat, incarnation, identity
//	spaces         one block per slot: what its node has taken and given back, for statfs
//	system records two per slot: index of orphans, index of deferred frees
//	journals       one ring per slot
//	groups         allocation groups up to the end
//
// A group begins with its header, then its bitmap of clusters, then its bitmap of metadata blocks, then space.
// A cluster is given to metadata in whole chunks and never taken back while the volume is mounted anywhere (F3):
// a block that a journal may still replay over never holds file data.
//
// # Invariants of every metadata block
//
// A block is interpreted only if magic, type, version, own number, volume UUID and CRC hold (F1); CheckHeader is
// the one place that decides. LSNs are Lamport stamps: a node stamps a transaction with one more than the
// highest LSN that it has seen in any block, so that LSNs of one block only grow, across nodes and reuse.
//
// Trees are B+trees from a 64-bit key to a short value, see Node. Their root lies inside the record of the inode;
// extents are keyed by logical cluster, names by hash.
package ondisk
