package scsi

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// TestTable: every row is complete and its usage map has the length of its CDB.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for i := range commands {
		r := &commands[i]
		key := fmt.Sprint(r.op, r.action)
		assert.False(t, seen[key], "%s is there twice", r.name)
		seen[key] = true
		assert.Len(t, masks[r], cdbLen(r.op), r.name)
		assert.NotZero(t, r.access, r.name)
		assert.NotEmpty(t, r.clause, r.name)
		assert.NotNil(t, r.run, r.name)
		assert.Equal(t, r.writes, r.access == accessWrite && r.op != 0x35 && r.op != 0x91 && r.op != 0x15 && r.op != 0x55, "%s: what writes must conflict as a write", r.name)
	}
}

// TestReportOpcodes: SPC-4 6.27 tells of all rows, and of each alone.
func TestReportOpcodes(t *testing.T) {
	u, err := NewUnit(memdev.New(blockdev.Geometry{SectorSize: 512, Size: 1 << 20}, nil), Options{})
	require.NoError(t, err)
	do := func(option, op byte, action uint16) Result {
		c := []byte{0xa3, 0x0c, option, op, 0, 0, 0, 0, 0x20, 0, 0, 0}
		binary.BigEndian.PutUint16(c[4:], action)
		return u.Execute(context.Background(), &Command{CDB: c})
	}
	all := do(0, 0, 0)
	assert.Len(t, all.In, 4+8*(len(commands)-1), "all but UNMAP, which this unit has not")
	assert.Len(t, do(0x80, 0, 0).In, 4+20*(len(commands)-1))
	for i := range commands {
		r := &commands[i]
		option, action := byte(1), uint16(0)
		if r.action != noAction {
			option, action = 2, uint16(r.action)
		}
		one := do(option, r.op, action)
		require.Equal(t, Good, one.Status, r.name)
		if r.op == 0x42 {
			assert.Equal(t, byte(1), one.In[1])
			continue
		}
		assert.Equal(t, byte(3), one.In[1], r.name)
		assert.Equal(t, cdbLen(r.op), int(binary.BigEndian.Uint16(one.In[2:])), r.name)
		assert.Equal(t, CheckCondition, do(3-option, r.op, action).Status, r.name)
	}
	assert.Equal(t, byte(1), do(1, 0xff, 0).In[1])
}
