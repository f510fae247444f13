// Package pdu is the wire format of iSCSI (RFC 7143): header segments, data segments with their digests, text keys and
// the rules by which keys are negotiated. Target and initiator share it; it knows neither of them.
//
// A Header is its 48 bytes. Its fields are named by Field values and every opcode has a row in the table Layouts, which
// says which fields it carries: tests, dumps and the checks of strangers' bytes come from that table.
//
// Nothing here trusts the peer: lengths are bounded before memory is taken for them, and every parser is fuzzed.
package pdu
