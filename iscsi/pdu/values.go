package pdu

import (
	"fmt"
	"strconv"
)

// Values are what one side of a login wants, or what both agreed on, by key.
type Values map[string]string

// Defaults are the values before anything is said (RFC 7143 13).
func Defaults() Values {
	v := Values{}
	for i := range Keys {
		if k := &Keys[i]; k.Default != "" {
			v[k.Name] = k.Default
		}
	}
	return v
}

// Number returns a number, 0 if there is none.
func (v Values) Number(key string) int {
	n, err := parseNumber(v[key])
	if err != nil || n > 1<<31-1 {
		return 0
	}
	return int(n)
}

// Yes reports whether the key says Yes.
func (v Values) Yes(key string) bool { return v[key] == "Yes" }

// Digest reports whether a digest key says CRC32C.
func (v Values) Digest(key string) bool { return v[key] == CRC32C }

// CRC32C is the name of the only digest (13.1).
const CRC32C = "CRC32C"

// Answerer takes the keys that a peer offers during one login and works out the answers.
type Answerer struct {
	Ours   Values // what we would have; a key that is not in it has its default
	Agreed Values // grows as keys are settled; starts with Defaults
	Peer   Values // what the peer declared of itself

	said map[string]bool
}

// NewAnswerer returns an Answerer at the start of a login.
func NewAnswerer(ours Values) *Answerer {
	return &Answerer{Ours: ours, Agreed: Defaults(), Peer: Values{}, said: map[string]bool{}}
}

// Offer takes one key of the peer. answer is nil for keys that are only declared. A key offered twice in a login is an
// error (6.3): without that a peer could go on for ever.
func (a *Answerer) Offer(p Pair) (answer *Pair, err error) {
	k := FindKey(p.Key)
	if k == nil {
		return &Pair{p.Key, NotUnderstood}, nil
	}
	if a.said[p.Key] {
		return nil, fmt.Errorf("%w: %s was negotiated already", ErrMalformed, p.Key)
	}
	a.said[p.Key] = true
	if k.Rule == Declared {
		if err := k.Check(p.Value); err != nil {
			return nil, err
		}
		a.Peer[p.Key] = p.Value
		return nil, nil
	}
	ours, ok := a.Ours[p.Key]
	if !ok {
		ours = k.Default
	}
	v, err := k.Agree(p.Value, ours)
	if err != nil {
		return nil, err
	}
	if v != Reject {
		a.Agreed[p.Key] = v
	}
	return &Pair{p.Key, v}, nil
}

// Answered takes the peer's answer to a key that we offered, or a declaration of the peer. offered is what we said.
func Answered(agreed, peer, offered Values, p Pair) error {
	k := FindKey(p.Key)
	switch {
	case k == nil:
		return nil
	case p.Value == NotUnderstood || p.Value == Irrelevant || p.Value == Reject:
		return nil // the default stays
	case k.Rule == Declared:
		if err := k.Check(p.Value); err != nil {
			return err
		}
		peer[p.Key] = p.Value
		return nil
	}
	ours, ok := offered[p.Key]
	if !ok {
		return nil
	}
	v, err := k.Agree(p.Value, ours)
	if err != nil {
		return err
	}
	if v == Reject || v != normal(k, p.Value) {
		return fmt.Errorf("%w: answer %s=%.40q to our %q", ErrMalformed, p.Key, p.Value, ours)
	}
	agreed[p.Key] = v
	return nil
}

// normal writes numbers in decimal.
func normal(k *Key, v string) string {
	if n, err := parseNumber(v); k.Number && err == nil {
		return strconv.FormatUint(n, 10)
	}
	return v
}
