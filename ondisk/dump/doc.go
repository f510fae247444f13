// Package dump prints structures of a volume for people and for scripts, by walking the layout tables of package
// ondisk. It only reads, takes no lock and applies no journal: of a volume in use it shows what lies on the medium.
//
// A structure that is corrupt is printed as far as its bytes go, with the finding beside it. Dump fails only when it
// cannot read the device, does not understand what is asked, or finds nothing at that place.
package dump
