package target

import (
	"encoding/binary"

	"github.com/covol/covol/iscsi/pdu"
	"github.com/covol/covol/iscsi/scsi"
)

// respond sends data and status of a command. release is called when the data is not needed any more.
func (c *conn) respond(k *task, res scsi.Result, release func()) {
	data := res.In
	moved, would := k.want, k.full
	if k.full == 0 {
		if would = len(data); !k.h.Has(pdu.CommandRead) {
			data = nil
		}
		data = data[:min(len(data), k.edtl)]
		moved = len(data)
	}
	flags, residual := k.residual(moved, would)
	free := func() {
		c.t.free(res.In)
		release()
	}
	if len(data) > 0 && res.Status == scsi.Good {
		c.out.send(c.dataIn(k, data, flags, residual, free)...)
		return
	}
	o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpResponse, pdu.Final|flags)}, sent: free}
	o.Set(pdu.Status, uint64(res.Status))
	o.Set(pdu.ITT, k.h.Get(pdu.ITT))
	o.Set32(pdu.Residual, residual)
	if len(res.Sense) > 0 {
		o.Data = append(binary.BigEndian.AppendUint16(nil, uint16(len(res.Sense))), res.Sense...)
	}
	c.out.send(o)
}

// residual says how what the command would move differs from what the initiator expected (RFC 7143 11.4.5).
func (k *task) residual(moved, would int) (flags byte, count uint32) {
	switch {
	case would > k.edtl:
		return pdu.Overflow, uint32(would - k.edtl)
	case moved < k.edtl:
		return pdu.Underflow, uint32(k.edtl - moved)
	}
	return 0, 0
}

// dataIn cuts data into PDUs (RFC 7143 11.7): none longer than the initiator takes, F at the end of each burst, the status
// in the last.
func (c *conn) dataIn(k *task, data []byte, flags byte, residual uint32, sent func()) []*outgoing {
	piece := min(int(c.maxData.Load()), maxBurst)
	burst := c.values.Number("MaxBurstLength")
	var all []*outgoing
	for off := 0; off < len(data); {
		n := min(piece, len(data)-off, burst-off%burst)
		o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpDataIn, 0), Data: data[off : off+n]}}
		o.Set(pdu.ITT, k.h.Get(pdu.ITT))
		o.Set32(pdu.TTT, pdu.NoTag)
		o.Set32(pdu.DataSN, uint32(len(all)))
		o.Set32(pdu.BufferOffset, uint32(off))
		if off += n; off%burst == 0 {
			o.Header[1] |= pdu.Final
		}
		all = append(all, o)
	}
	last := all[len(all)-1]
	last.Header[1] |= pdu.Final | pdu.HasStatus | flags
	last.Set32(pdu.Residual, residual)
	last.sent = sent
	return all
}
