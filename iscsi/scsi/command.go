package scsi

import (
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk/blockdev"
)

// Nexus is an initiator port at a target port: who sends a command (SAM-5 4.6.5). Registrations belong to it and outlive
// its sessions.
type Nexus struct {
	Initiator string // name of the initiator port, for iSCSI NAME,i,0xISID
	Port      uint16 // relative target port identifier
}

func (n Nexus) String() string { return fmt.Sprintf("%s,port %d", n.Initiator, n.Port) }

// Command is one request. Out must stay unchanged until Execute returns.
type Command struct {
	Nexus Nexus
	CDB   []byte
	Out   []byte // data from the initiator, as much as it sent and DataOut wants
	// Expected is how many bytes the initiator would have sent, where the transport knows; a negative number is unknown.
	Expected int
	// Alloc returns memory for data to the initiator, which may hold anything; nil means blockdev.Alloc.
	Alloc func(n int) []byte
}

// Unknown is a Command.Expected that says nothing.
const Unknown = -1

// Result is the outcome of a command.
type Result struct {
	Status Status
	Sense  []byte // with CheckCondition
	In     []byte // data to the initiator
}

// errConflict makes a command end with RESERVATION CONFLICT.
var errConflict = errors.New("reservation conflict")

// errConditionMet makes a command end with CONDITION MET.
var errConditionMet = errors.New("condition met")

// fail is the Result of an error.
func fail(err error) Result {
	var s *Sense
	switch {
	case errors.Is(err, errConflict):
		return Result{Status: ReservationConflict}
	case errors.Is(err, errConditionMet):
		return Result{Status: ConditionMet}
	case errors.As(err, &s):
	case errors.Is(err, blockdev.ErrRange):
		s = illegal(LBAOutOfRange)
	case errors.Is(err, blockdev.ErrFenced):
		s = &Sense{Key: DataProtect, Code: WriteProtected}
	default:
		s = &Sense{Key: HardwareError, Code: InternalFailure}
	}
	return Result{Status: CheckCondition, Sense: s.Fixed()}
}

// request is a command on its way through a unit.
type request struct {
	*Command
	u   *Unit
	row *row
}

func (r *request) alloc(n int) []byte {
	if r.Alloc != nil {
		return r.Alloc(n)
	}
	return blockdev.Alloc(n)
}

// number reads n big-endian bytes of p.
func number(p []byte) uint64 {
	var v uint64
	for _, b := range p {
		v = v<<8 | uint64(b)
	}
	return v
}

// extent returns address and number of blocks of a CDB of the usual shapes (SBC-3 5: read and write commands).
func extent(cdb []byte) (lba, blocks uint64) {
	switch len(cdb) {
	case 6:
		if lba, blocks = number(cdb[1:4])&0x1fffff, uint64(cdb[4]); blocks == 0 {
			blocks = 256
		}
	case 10:
		lba, blocks = number(cdb[2:6]), number(cdb[7:9])
	case 12:
		lba, blocks = number(cdb[2:6]), number(cdb[6:10])
	case 16:
		lba, blocks = number(cdb[2:10]), number(cdb[10:14])
	}
	return lba, blocks
}

// lengthField is where the number of blocks is in a CDB, for field pointers.
func lengthField(cdb []byte) int { return map[int]int{6: 4, 10: 7, 12: 6, 16: 10}[len(cdb)] }

// cdbLen is the length of a CDB by its group code (SPC-4 4.2.5.1), 0 if we know no command of the group.
func cdbLen(op byte) int { return [8]int{6, 10, 10, 0, 16, 12, 0, 0}[op>>5] }
