// Package wire is the byte form of what lock managers say to each other.
//
// A [Frame] is one datagram: a fixed header that names both lives and the sender's epoch, the sequence number of
// the one message inside and the last number received. A frame without a message only acknowledges.
//
// Every [Message] describes itself in one method, walk, which names its fields in order. Encoding, decoding and
// the table in PROTOCOL.md are three readings of that one description, so they cannot part. All integers are
// little-endian. Decoding is total: any bytes give a message or ErrMalformed, it never allocates more than a small
// multiple of the bytes it was given, and what it accepts encodes to the same bytes again.
package wire
