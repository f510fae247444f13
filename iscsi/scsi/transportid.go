package scsi

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// iscsiPort is the first byte of a TransportID of an iSCSI initiator port: format 01b, protocol 5 (SPC-4 7.6.4.6).
const iscsiPort = 0x45

// transportID names an initiator port.
func transportID(name string) []byte {
	n := max(20, (len(name)+1+3)&^3)
	p := make([]byte, 4+n)
	p[0] = iscsiPort
	binary.BigEndian.PutUint16(p[2:], uint16(n))
	copy(p[4:], name)
	return p
}

// parseTransportID returns the name in a TransportID; ok is false for any other form than that of an iSCSI port.
func parseTransportID(p []byte) (name string, ok bool) {
	if len(p) < 24 || p[0] != iscsiPort {
		return "", false
	}
	n := int(binary.BigEndian.Uint16(p[2:]))
	if n != len(p)-4 || n%4 != 0 {
		return "", false
	}
	text, _, ended := bytes.Cut(p[4:], []byte{0})
	name = string(text)
	return name, ended && len(name) <= 223+len(",i,0x")+12 && strings.Contains(name, ",i,0x")
}
