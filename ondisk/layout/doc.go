// Package layout describes bytes by tables, one per structure, so that codec, document, dumper and tests cannot part.
//
// A Layout lists the fields of a structure without gaps; what is unused is a field named "zero". A Set holds the
// layouts that refer to each other. The type of a field is a base and, in brackets, how many:
//
//	u8 le16 le32 le64   unsigned, little-endian
//	s64                 signed, little-endian
//	text[64]            text, ended by the first zero byte or by the end of the field
//	bytes[16] bits[4000] zero[4]
//	time                another layout of the set, here "time"
//	member[255]         that many of them, one after the other
//	text[length]        as many as the earlier field "length" says; only in the last field
//	attribute[]         as many as there is room for; only in the last field
//	case[length]        that many bytes, which are of the layout that Cases names for the value of Switch
//
// A last field that counts by another field or by the room has a Size when the room that it may take is fixed, and
// Size 0 when it is not. Elements of a layout with Align begin at multiples of it, counted from the first; a sequence
// of elements with End is over at the element whose field of that name is zero.
package layout
