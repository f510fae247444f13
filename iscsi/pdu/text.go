package pdu

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Limits of text (RFC 7143 6.1).
const (
	maxKeyName = 63    // bytes, 6.1
	maxValue   = 8192  // bytes, larger than any key that we know may have
	maxPairs   = 256   // in one request
	MaxText    = 65536 // bytes, of one request with all its continuations
)

// Pair is one key=value.
type Pair struct{ Key, Value string }

// ParseText splits the data of a Text or Login PDU (or of several that were continued) into its pairs, in order.
func ParseText(p []byte) ([]Pair, error) {
	if len(p) > MaxText {
		return nil, fmt.Errorf("%w: %d bytes of text", ErrTooLong, len(p))
	}
	var pairs []Pair
	for len(p) > 0 {
		var item []byte
		var found bool
		if item, p, found = bytes.Cut(p, []byte{0}); !found {
			return nil, fmt.Errorf("%w: text does not end with a zero byte", ErrMalformed)
		}
		if len(item) == 0 {
			continue // padding
		}
		key, value, found := bytes.Cut(item, []byte{'='})
		if !found || !validKey(key) || len(value) > maxValue {
			return nil, fmt.Errorf("%w: text %.80q is no key=value", ErrMalformed, item)
		}
		if pairs = append(pairs, Pair{string(key), string(value)}); len(pairs) > maxPairs {
			return nil, fmt.Errorf("%w: more than %d keys", ErrTooLong, maxPairs)
		}
	}
	return pairs, nil
}

// validKey follows the grammar of key names (6.1).
func validKey(k []byte) bool {
	if len(k) == 0 || len(k) > maxKeyName {
		return false
	}
	for _, c := range k {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("-+.@_#/", rune(c)) {
			return false
		}
	}
	return true
}

// AppendText appends pairs as on the wire.
func AppendText(p []byte, pairs ...Pair) []byte {
	for _, kv := range pairs {
		p = append(p, kv.Key...)
		p = append(p, '=')
		p = append(p, kv.Value...)
		p = append(p, 0)
	}
	return p
}

// ParseBinary reads a binary value (6.1: 0x and hexadecimal digits, or 0b and base64) of at most most bytes.
func ParseBinary(s string, most int) ([]byte, error) {
	var p []byte
	var err error
	switch {
	case len(s) > 4+2*most:
		return nil, fmt.Errorf("%w: binary value of %d characters", ErrTooLong, len(s))
	case strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X"):
		p, err = hex.DecodeString(s[2:])
	case strings.HasPrefix(s, "0b") || strings.HasPrefix(s, "0B"):
		p, err = base64.StdEncoding.DecodeString(s[2:])
	default:
		return nil, fmt.Errorf("%w: binary value without 0x or 0b", ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: binary value: %w", ErrMalformed, err)
	}
	if len(p) > most {
		return nil, fmt.Errorf("%w: binary value of %d bytes", ErrTooLong, len(p))
	}
	return p, nil
}

// FormatBinary writes a binary value in hexadecimal.
func FormatBinary(p []byte) string { return "0x" + hex.EncodeToString(p) }
