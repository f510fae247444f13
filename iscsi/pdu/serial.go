package pdu

// Less compares serial numbers modulo 2^32 (RFC 1982, which RFC 7143 4.2.2.1 asks for).
func Less(a, b uint32) bool { return int32(a-b) < 0 }

// EncodeLUN is the eight bytes of a logical unit number below 16384 (SAM-5 4.7): peripheral device addressing below 256,
// flat space from there on.
func EncodeLUN(n int) uint64 {
	if n < 256 {
		return uint64(n) << 48
	}
	return (0x4000 | uint64(n&0x3fff)) << 48
}

// DecodeLUN returns the number in eight bytes of a LUN field, or -1 if it is of no form that we know.
func DecodeLUN(v uint64) int {
	if v<<16 != 0 {
		return -1
	}
	switch top := v >> 48; top >> 14 {
	case 0:
		if top < 256 {
			return int(top)
		}
	case 1:
		return int(top & 0x3fff)
	}
	return -1
}
