// Package scsi is a server of SCSI block commands (SPC-4, SBC-3, SAM-5) over blockdev.Device. It knows no transport.
//
// A Server is a SCSI target device with its logical units. A Unit executes commands; each command is a row of the
// table commands, which says its clause, the bits its CDB may have, how much data it takes and how reservations
// treat it. REPORT SUPPORTED OPERATION CODES and the tests read the same table.
//
// Invariants:
//   - A command holds Unit.gate for reading from its reservation check until its last byte is on the device.
//     PERSISTENT RESERVE OUT, RESERVE and RELEASE hold it for writing. So when PREEMPT (AND ABORT) returns, no older
//     command of the victim is in flight, and every later one meets the new registrations.
//   - With APTPL, registrations and reservation are in the Keeper before the command that made them is GOOD.
//   - COMPARE AND WRITE and ORWRITE exclude every other command on their blocks from compare to write.
//   - What INQUIRY, READ CAPACITY and the VPD pages say of provisioning is what the device behind can do.
//
// Lock order: Unit.gate, then Unit.ranges, then the device. Attentions have a leaf lock of their own.
//
// Tasks are SIMPLE: they run in any order, which SAM-5 8.7 allows for HEAD OF QUEUE and not for ORDERED. There is no
// ACA, no protection information, no removable medium. START STOP UNIT accepts what leaves the unit ready.
//
// The commands are our own, not those of a library: of the one in Go, the handlers of reservations, COMPARE AND WRITE,
// WRITE SAME, UNMAP, ORWRITE and GET LBA STATUS are missing, wrong or stubs that report success, and a fence that
// reports success and does not fence is worse than none.
package scsi
