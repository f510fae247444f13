package pdu

// Opcode says what a PDU is (RFC 7143 11.2.1.2).
type Opcode byte

// Opcodes. Those from 0x20 on come from the target.
const (
	OpNopOut      Opcode = 0x00
	OpCommand     Opcode = 0x01
	OpTaskRequest Opcode = 0x02
	OpLogin       Opcode = 0x03
	OpText        Opcode = 0x04
	OpDataOut     Opcode = 0x05
	OpLogout      Opcode = 0x06
	OpSNACK       Opcode = 0x10
	OpNopIn       Opcode = 0x20
	OpResponse    Opcode = 0x21
	OpTaskReply   Opcode = 0x22
	OpLoginReply  Opcode = 0x23
	OpTextReply   Opcode = 0x24
	OpDataIn      Opcode = 0x25
	OpLogoutReply Opcode = 0x26
	OpR2T         Opcode = 0x31
	OpAsync       Opcode = 0x32
	OpReject      Opcode = 0x3f
)

func (o Opcode) String() string {
	if l, ok := Layouts[o]; ok {
		return l.Name
	}
	return "unknown opcode"
}

// Bits of the flags, by the section that defines them.
const (
	Final    = 0x80 // F, most opcodes
	Transit  = 0x80 // T, 11.12.1
	Continue = 0x40 // C, 11.10.2

	CommandRead  = 0x40 // R, 11.3.1
	CommandWrite = 0x20 // W, 11.3.1
	TaskAttr     = 0x07 // ATTR, 11.3.1

	Ack       = 0x40 // A of Data-In, 11.7.2
	Overflow  = 0x04 // O, 11.4.1 and 11.7.4
	Underflow = 0x02 // U
	HasStatus = 0x01 // S of Data-In, 11.7.3
)

// NoTag is the reserved value of both task tags.
const NoTag = 0xffffffff

// Layout is what an opcode's header carries beside opcode, flags and lengths.
type Layout struct {
	Name    string
	Section string // of RFC 7143
	Fields  []Field
	Flags   byte // bits of byte 1 that may be set
	CDB     bool
	Data    bool // a data segment may follow
}

// Layouts is the table of all opcodes.
var Layouts = map[Opcode]Layout{
	OpNopOut:      {"NOP-Out", "11.18", []Field{LUN, ITT, TTT, CmdSN, ExpStatSN}, 0x80, false, true},
	OpCommand:     {"SCSI Command", "11.3", []Field{LUN, ITT, EDTL, CmdSN, ExpStatSN}, 0xe7, true, true},
	OpTaskRequest: {"Task Management Function Request", "11.5", []Field{LUN, ITT, RefTaskTag, CmdSN, ExpStatSN, RefCmdSN, ExpDataSN}, 0xff, false, false},
	OpLogin:       {"Login Request", "11.12", []Field{VersionMax, VersionMin, ISID, TSIH, ITT, CID, CmdSN, ExpStatSN}, 0xcf, false, true},
	OpText:        {"Text Request", "11.10", []Field{LUN, ITT, TTT, CmdSN, ExpStatSN}, 0xc0, false, true},
	OpDataOut:     {"SCSI Data-Out", "11.7", []Field{LUN, ITT, TTT, ExpStatSN, DataSN, BufferOffset}, 0x80, false, true},
	OpLogout:      {"Logout Request", "11.14", []Field{ITT, CID, CmdSN, ExpStatSN}, 0xff, false, false},
	OpSNACK:       {"SNACK Request", "11.16", []Field{LUN, ITT, TTT, ExpStatSN}, 0x8f, false, false},
	OpNopIn:       {"NOP-In", "11.19", []Field{LUN, ITT, TTT, StatSN, ExpCmdSN, MaxCmdSN}, 0x80, false, true},
	OpResponse:    {"SCSI Response", "11.4", []Field{Response, Status, ITT, StatSN, ExpCmdSN, MaxCmdSN, ExpDataSN, Residual}, 0x9e, false, true},
	OpTaskReply:   {"Task Management Function Response", "11.6", []Field{Response, ITT, StatSN, ExpCmdSN, MaxCmdSN}, 0x80, false, false},
	OpLoginReply:  {"Login Response", "11.13", []Field{VersionMax, VersionActive, ISID, TSIH, ITT, StatSN, ExpCmdSN, MaxCmdSN, StatusClass, StatusDetail}, 0xcf, false, true},
	OpTextReply:   {"Text Response", "11.11", []Field{LUN, ITT, TTT, StatSN, ExpCmdSN, MaxCmdSN}, 0xc0, false, true},
	OpDataIn:      {"SCSI Data-In", "11.7", []Field{Status, LUN, ITT, TTT, StatSN, ExpCmdSN, MaxCmdSN, DataSN, BufferOffset, Residual}, 0xc7, false, true},
	OpLogoutReply: {"Logout Response", "11.15", []Field{Response, ITT, StatSN, ExpCmdSN, MaxCmdSN, Time2Wait, Time2Retain}, 0x80, false, false},
	OpR2T:         {"Ready To Transfer", "11.8", []Field{LUN, ITT, TTT, StatSN, ExpCmdSN, MaxCmdSN, R2TSN, BufferOffset, DesiredLength}, 0x80, false, false},
	OpAsync:       {"Asynchronous Message", "11.9", []Field{LUN, ITT, StatSN, ExpCmdSN, MaxCmdSN, AsyncEvent, AsyncVCode}, 0x80, false, true},
	OpReject:      {"Reject", "11.17", []Field{Reason, ITT, StatSN, ExpCmdSN, MaxCmdSN, DataSN}, 0x80, false, true},
}

// Task management functions (11.5.1).
const (
	AbortTask       = 1
	AbortTaskSet    = 2
	ClearACA        = 3
	ClearTaskSet    = 4
	LogicalUnitRst  = 5
	TargetWarmReset = 6
	TargetColdReset = 7
	TaskReassign    = 8
)

// Answers to task management functions (11.6.1).
const (
	TaskComplete      = 0
	TaskUnknown       = 1
	TaskNoLUN         = 2
	TaskNotSupported  = 5
	TaskNotAuthorized = 6
	TaskRejected      = 255
)

// Reasons of a Reject (11.17.1).
const (
	RejectDataDigest   = 0x02
	RejectProtocol     = 0x04
	RejectNotSupported = 0x05
	RejectImmediate    = 0x06
	RejectInvalidField = 0x09
)

// Responses of a SCSI Response (11.4.3).
const (
	ResponseComplete = 0
	ResponseFailure  = 1
)

// Events of an Asynchronous Message (11.9.1).
const (
	AsyncSCSI        = 0
	AsyncLogout      = 1
	AsyncDropConn    = 2
	AsyncDropSession = 3
	AsyncNegotiate   = 4
)
