package scsi

import "context"

// access is how a persistent reservation treats a command (SPC-4 table 66, SBC-3 table 13).
type access uint8

// The classes of those tables.
const (
	_              access = iota
	accessAny             // never conflicts
	accessRead            // conflicts with exclusive access
	accessWrite           // conflicts with exclusive access and with write exclusive
	accessReserve         // PERSISTENT RESERVE OUT: the service action decides (SPC-4 table 67)
	accessOld             // RESERVE and RELEASE (SPC-2 5.5.1)
	accessStart           // START STOP UNIT: accessAny for a plain start, else accessWrite
	accessPrevent         // PREVENT ALLOW MEDIUM REMOVAL: accessAny if it allows, else accessWrite
	accessAnyNoOld        // never conflicts with a persistent reservation, does with RESERVE
)

// noAction marks a row whose opcode has no service actions.
const noAction = -1

// row is a command.
type row struct {
	op     byte
	action int // service action, in the low five bits of byte 1
	name   string
	clause string
	usage  string // hexadecimal, the bits that the CDB may have from byte 1 on; its length is the CDB's
	access access
	early  bool   // runs past unit attentions (SAM-5 5.14.1)
	alone  bool   // holds the gate for writing
	writes bool   // changes the medium
	alloc  [2]int // place and length of the allocation length, if there is one
	out    func(u *Unit, cdb []byte) uint64
	run    func(ctx context.Context, r *request) ([]byte, error)
}

// commands is the table of all commands.
var commands []row

// commandTable makes the table; a function, as some of its rows look into it. Byte 0 of usage maps is the opcode and
// left out; control bytes are 00, as NACA is not supported; the group number may be anything.
func commandTable() []row {
	return []row{
		{op: 0x00, action: noAction, name: "TEST UNIT READY", clause: "SPC-4 6.33", usage: "0000000000", access: accessAnyNoOld, run: runNothing},
		{op: 0x03, action: noAction, name: "REQUEST SENSE", clause: "SPC-4 6.29", usage: "010000ff00", access: accessAny, early: true, alloc: [2]int{4, 1}, run: runRequestSense},
		{op: 0x12, action: noAction, name: "INQUIRY", clause: "SPC-4 6.4", usage: "01ffffff00", access: accessAny, early: true, alloc: [2]int{3, 2}, run: runInquiry},
		{op: 0x1a, action: noAction, name: "MODE SENSE(6)", clause: "SPC-4 6.11", usage: "08ffffff00", access: accessRead, alloc: [2]int{4, 1}, run: runModeSense6},
		{op: 0x5a, action: noAction, name: "MODE SENSE(10)", clause: "SPC-4 6.12", usage: "18ffff000000ffff00", access: accessRead, alloc: [2]int{7, 2}, run: runModeSense10},
		{op: 0x15, action: noAction, name: "MODE SELECT(6)", clause: "SPC-4 6.9", usage: "100000ff00", access: accessWrite, alone: true, out: outList(4, 1), run: runModeSelect},
		{op: 0x55, action: noAction, name: "MODE SELECT(10)", clause: "SPC-4 6.10", usage: "100000000000ffff00", access: accessWrite, alone: true, out: outList(7, 2), run: runModeSelect},
		{op: 0x1b, action: noAction, name: "START STOP UNIT", clause: "SBC-3 5.25", usage: "01000ff700", access: accessStart, run: runStartStop},
		{op: 0x1e, action: noAction, name: "PREVENT ALLOW MEDIUM REMOVAL", clause: "SBC-3 5.13", usage: "0000000300", access: accessPrevent, run: runNothing},
		{op: 0xa0, action: noAction, name: "REPORT LUNS", clause: "SPC-4 6.26", usage: "00ff000000ffffffff0000", access: accessAny, early: true, alloc: [2]int{6, 4}, run: runReportLUNs},
		{op: 0xa3, action: 0x0c, name: "REPORT SUPPORTED OPERATION CODES", clause: "SPC-4 6.27", usage: "1f87ffffffffffffff0000", access: accessRead, alloc: [2]int{6, 4}, run: runOpcodes},
		{op: 0xa3, action: 0x0d, name: "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", clause: "SPC-4 6.28", usage: "1f80000000ffffffff0000", access: accessRead, alloc: [2]int{6, 4}, run: runTaskFunctions},

		{op: 0x25, action: noAction, name: "READ CAPACITY(10)", clause: "SBC-3 5.15", usage: "00000000000000" + "0000", access: accessAnyNoOld, run: runCapacity10},
		{op: 0x9e, action: 0x10, name: "READ CAPACITY(16)", clause: "SBC-3 5.16", usage: "1f0000000000000000ffffffff0000", access: accessAnyNoOld, alloc: [2]int{10, 4}, run: runCapacity16},
		{op: 0x9e, action: 0x12, name: "GET LBA STATUS", clause: "SBC-3 5.4", usage: "1fffffffffffffffffffffffff0000", access: accessRead, alloc: [2]int{10, 4}, run: runLBAStatus},

		{op: 0x08, action: noAction, name: "READ(6)", clause: "SBC-3 5.10", usage: "1fffffff00", access: accessRead, run: runRead},
		{op: 0x28, action: noAction, name: "READ(10)", clause: "SBC-3 5.11", usage: "18ffffffff1fffff00", access: accessRead, run: runRead},
		{op: 0xa8, action: noAction, name: "READ(12)", clause: "SBC-3 5.12", usage: "18ffffffffffffffff1f00", access: accessRead, run: runRead},
		{op: 0x88, action: noAction, name: "READ(16)", clause: "SBC-3 5.13", usage: "18ffffffffffffffffffffffff1f00", access: accessRead, run: runRead},
		{op: 0x34, action: noAction, name: "PRE-FETCH(10)", clause: "SBC-3 5.8", usage: "02ffffffff1fffff00", access: accessRead, run: runPrefetch},
		{op: 0x90, action: noAction, name: "PRE-FETCH(16)", clause: "SBC-3 5.9", usage: "02ffffffffffffffffffffffff1f00", access: accessRead, run: runPrefetch},

		{op: 0x0a, action: noAction, name: "WRITE(6)", clause: "SBC-3 5.32", usage: "1fffffff00", access: accessWrite, writes: true, out: outBlocks, run: runWrite},
		{op: 0x2a, action: noAction, name: "WRITE(10)", clause: "SBC-3 5.33", usage: "18ffffffff1fffff00", access: accessWrite, writes: true, out: outBlocks, run: runWrite},
		{op: 0xaa, action: noAction, name: "WRITE(12)", clause: "SBC-3 5.34", usage: "18ffffffffffffffff1f00", access: accessWrite, writes: true, out: outBlocks, run: runWrite},
		{op: 0x8a, action: noAction, name: "WRITE(16)", clause: "SBC-3 5.35", usage: "18ffffffffffffffffffffffff1f00", access: accessWrite, writes: true, out: outBlocks, run: runWrite},
		{op: 0x2e, action: noAction, name: "WRITE AND VERIFY(10)", clause: "SBC-3 5.37", usage: "16ffffffff1fffff00", access: accessWrite, writes: true, out: outBlocks, run: runWriteVerify},
		{op: 0xae, action: noAction, name: "WRITE AND VERIFY(12)", clause: "SBC-3 5.38", usage: "16ffffffffffffffff1f00", access: accessWrite, writes: true, out: outBlocks, run: runWriteVerify},
		{op: 0x8e, action: noAction, name: "WRITE AND VERIFY(16)", clause: "SBC-3 5.39", usage: "16ffffffffffffffffffffffff1f00", access: accessWrite, writes: true, out: outBlocks, run: runWriteVerify},
		{op: 0x2f, action: noAction, name: "VERIFY(10)", clause: "SBC-3 5.29", usage: "16ffffffff1fffff00", access: accessRead, out: outVerify, run: runVerify},
		{op: 0xaf, action: noAction, name: "VERIFY(12)", clause: "SBC-3 5.30", usage: "16ffffffffffffffff1f00", access: accessRead, out: outVerify, run: runVerify},
		{op: 0x8f, action: noAction, name: "VERIFY(16)", clause: "SBC-3 5.31", usage: "16ffffffffffffffffffffffff1f00", access: accessRead, out: outVerify, run: runVerify},
		{op: 0x35, action: noAction, name: "SYNCHRONIZE CACHE(10)", clause: "SBC-3 5.26", usage: "06ffffffff1fffff00", access: accessWrite, run: runSync},
		{op: 0x91, action: noAction, name: "SYNCHRONIZE CACHE(16)", clause: "SBC-3 5.27", usage: "06ffffffffffffffffffffffff1f00", access: accessWrite, run: runSync},

		{op: 0x42, action: noAction, name: "UNMAP", clause: "SBC-3 5.28", usage: "00000000001fffff00", access: accessWrite, writes: true, out: outList(7, 2), run: runUnmap},
		{op: 0x41, action: noAction, name: "WRITE SAME(10)", clause: "SBC-3 5.43", usage: "08ffffffff1fffff00", access: accessWrite, writes: true, out: outSame, run: runWriteSame},
		{op: 0x93, action: noAction, name: "WRITE SAME(16)", clause: "SBC-3 5.44", usage: "09ffffffffffffffffffffffff1f00", access: accessWrite, writes: true, out: outSame, run: runWriteSame},
		{op: 0x89, action: noAction, name: "COMPARE AND WRITE", clause: "SBC-3 5.2", usage: "18ffffffffffffffff000000ff1f00", access: accessWrite, writes: true, out: outCompare, run: runCompareAndWrite},
		{op: 0x8b, action: noAction, name: "ORWRITE(16)", clause: "SBC-3 5.7", usage: "18ffffffffffffffffffffffff1f00", access: accessWrite, writes: true, out: outBlocks, run: runOrWrite},

		{op: 0x16, action: noAction, name: "RESERVE(6)", clause: "SPC-2 7.21", usage: "0000000000", access: accessOld, alone: true, run: runReserve},
		{op: 0x17, action: noAction, name: "RELEASE(6)", clause: "SPC-2 7.16", usage: "0000000000", access: accessOld, alone: true, run: runRelease},
		{op: 0x56, action: noAction, name: "RESERVE(10)", clause: "SPC-2 7.22", usage: "000000000000ffff00", access: accessOld, alone: true, run: runReserve},
		{op: 0x57, action: noAction, name: "RELEASE(10)", clause: "SPC-2 7.17", usage: "000000000000ffff00", access: accessOld, alone: true, run: runRelease},

		{op: 0x5e, action: 0, name: "PERSISTENT RESERVE IN, READ KEYS", clause: "SPC-4 6.15.2", usage: "1f0000000000ffff00", access: accessAnyNoOld, alloc: [2]int{7, 2}, run: runReadKeys},
		{op: 0x5e, action: 1, name: "PERSISTENT RESERVE IN, READ RESERVATION", clause: "SPC-4 6.15.3", usage: "1f0000000000ffff00", access: accessAnyNoOld, alloc: [2]int{7, 2}, run: runReadReservation},
		{op: 0x5e, action: 2, name: "PERSISTENT RESERVE IN, REPORT CAPABILITIES", clause: "SPC-4 6.15.4", usage: "1f0000000000ffff00", access: accessAnyNoOld, alloc: [2]int{7, 2}, run: runCapabilities},
		{op: 0x5e, action: 3, name: "PERSISTENT RESERVE IN, READ FULL STATUS", clause: "SPC-4 6.15.5", usage: "1f0000000000ffff00", access: accessAnyNoOld, alloc: [2]int{7, 2}, run: runFullStatus},
		reserveOut(actionRegister, "REGISTER"),
		reserveOut(actionReserve, "RESERVE"),
		reserveOut(actionRelease, "RELEASE"),
		reserveOut(actionClear, "CLEAR"),
		reserveOut(actionPreempt, "PREEMPT"),
		reserveOut(actionPreemptAbort, "PREEMPT AND ABORT"),
		reserveOut(actionRegisterIgnore, "REGISTER AND IGNORE EXISTING KEY"),
		reserveOut(actionMove, "REGISTER AND MOVE"),
	}
}

func reserveOut(action int, name string) row {
	return row{op: 0x5f, action: action, name: "PERSISTENT RESERVE OUT, " + name, clause: "SPC-4 6.16", usage: "1fff0000ffffffff00",
		access: accessReserve, alone: true, out: outList(5, 4), run: runReserveOut}
}

func runNothing(context.Context, *request) ([]byte, error) { return nil, nil }
