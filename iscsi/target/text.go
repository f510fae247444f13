package target

import (
	"fmt"
	"strconv"

	"github.com/covol/covol/iscsi/pdu"
)

// textRequest is a Text Request in the full feature phase (RFC 7143 11.10): discovery, and the few keys that may change.
func (c *conn) textRequest(h *pdu.Header, data []byte) error {
	if c.text = append(c.text, data...); len(c.text) > pdu.MaxText {
		return fmt.Errorf("%w: text of %d bytes", pdu.ErrTooLong, len(c.text))
	}
	o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpTextReply, pdu.Final)}}
	o.Set(pdu.ITT, h.Get(pdu.ITT))
	o.Set32(pdu.TTT, pdu.NoTag)
	if h.Has(pdu.Continue) {
		o.Header[1] = 0
		o.Set32(pdu.TTT, 1)
		c.out.send(o)
		return nil
	}
	pairs, err := pdu.ParseText(c.text)
	if c.text = nil; err != nil {
		return err
	}
	var answer []pdu.Pair
	for _, p := range pairs {
		answer = append(answer, c.textKey(p)...)
	}
	if o.Data = pdu.AppendText(nil, answer...); len(o.Data) > int(c.maxData.Load()) {
		return c.reject(h, pdu.RejectProtocol)
	}
	c.out.send(o)
	return nil
}

func (c *conn) textKey(p pdu.Pair) []pdu.Pair {
	switch p.Key {
	case "SendTargets":
		// RFC 7143 appendix C: All only in discovery, the empty value only in a session with a target.
		name := c.t.o.Name
		if p.Value == name || p.Value == "All" && c.discovery || p.Value == "" && !c.discovery {
			return []pdu.Pair{{Key: "TargetName", Value: name}, {Key: "TargetAddress", Value: fmt.Sprintf("%s,%d", c.nc.LocalAddr(), portalGroup)}}
		}
		return nil
	case "MaxRecvDataSegmentLength":
		if pdu.FindKey(p.Key).Check(p.Value) == nil {
			if n, err := strconv.Atoi(p.Value); err == nil {
				c.maxData.Store(int64(n))
			}
		}
		return nil
	case "InitiatorAlias":
		return nil
	}
	return []pdu.Pair{{Key: p.Key, Value: pdu.NotUnderstood}}
}
