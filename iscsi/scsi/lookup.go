package scsi

import "encoding/hex"

// rowsByOp are the rows of each opcode, and masks the usage maps with byte 0.
var (
	rowsByOp [256][]*row
	masks    = map[*row][]byte{}
)

func init() {
	commands = commandTable()
	for i := range commands {
		r := &commands[i]
		rowsByOp[r.op] = append(rowsByOp[r.op], r)
		usage, err := hex.DecodeString(r.usage)
		if err != nil {
			panic(err) // a constant
		}
		masks[r] = append([]byte{r.op}, usage...)
	}
}

// find returns the row of a CDB and the CDB cut to its length.
func find(cdb []byte) (*row, []byte, error) {
	if len(cdb) == 0 || len(rowsByOp[cdb[0]]) == 0 {
		return nil, nil, illegal(InvalidOpcode)
	}
	n := cdbLen(cdb[0])
	if len(cdb) < n {
		return nil, nil, illegal(InvalidFieldInCDB)
	}
	cdb = cdb[:n]
	for _, r := range rowsByOp[cdb[0]] {
		if r.action == noAction || r.action == int(cdb[1]&0x1f) {
			return r, cdb, nil
		}
	}
	return nil, nil, badField(1)
}

// checkBits refuses a CDB with bits that the command does not have, or that we do not support.
func (r *row) checkBits(cdb []byte) error {
	for i, m := range masks[r] {
		if cdb[i]&^m != 0 {
			return badField(i)
		}
	}
	return nil
}

// allocation is the allocation length of a CDB, or as much as there is.
func (r *row) allocation(cdb []byte) int {
	if r.alloc[1] == 0 {
		return 1 << 31
	}
	return int(number(cdb[r.alloc[0] : r.alloc[0]+r.alloc[1]]))
}
