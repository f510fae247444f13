// Package chap is the CHAP authentication of iSCSI (RFC 7143 12.1.3, RFC 1994), both ways. Challenges come from the
// caller's source of randomness, comparisons take constant time, and a side never answers its own challenge.
package chap

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/covol/covol/iscsi/pdu"
)

// Keys of CHAP (RFC 7143 12.1.3).
const (
	KeyAlgorithm  = "CHAP_A"
	KeyName       = "CHAP_N"
	KeyResponse   = "CHAP_R"
	KeyID         = "CHAP_I"
	KeyChallenge  = "CHAP_C"
	maxChallenge  = 1024 // bytes, 12.1.3
	challengeSize = 32   // bytes, of ours; at most the length of the shortest hash would do, more costs nothing
)

// algorithms by their numbers at IANA ("PPP Authentication Algorithms"), the best first.
var algorithms = []struct {
	id   string
	make func() hash.Hash
}{{"7", sha256.New}, {"6", sha1.New}, {"5", md5.New}}

// Offer is the list of algorithms of an initiator.
func Offer() string {
	var ids []string
	for _, a := range algorithms {
		ids = append(ids, a.id)
	}
	return strings.Join(ids, ",")
}

// Errors of authentication.
var (
	ErrFailed    = errors.New("authentication failed")
	ErrNoCommon  = errors.New("no CHAP algorithm in common")
	ErrReflected = errors.New("the peer sent our own challenge back")
)

// Secret is a name and what proves it.
type Secret struct{ Name, Secret string }

// Zero reports whether there is no secret.
func (s Secret) Zero() bool { return s.Name == "" && s.Secret == "" }

// Pick returns the first algorithm of a peer's list that we can do.
func Pick(offer string) (string, error) {
	for _, id := range strings.Split(offer, ",") {
		if find(id) != nil {
			return id, nil
		}
	}
	return "", fmt.Errorf("%w: offered %.40q", ErrNoCommon, offer)
}

func find(id string) func() hash.Hash {
	for _, a := range algorithms {
		if a.id == id {
			return a.make
		}
	}
	return nil
}

// Challenge is what one side asks of the other.
type Challenge struct {
	Algorithm string
	ID        byte
	Value     []byte
}

// NewChallenge draws a challenge.
func NewChallenge(random io.Reader, algorithm string) (*Challenge, error) {
	p := make([]byte, 1+challengeSize)
	if _, err := io.ReadFull(random, p); err != nil {
		return nil, fmt.Errorf("draw a challenge: %w", err)
	}
	return &Challenge{algorithm, p[0], p[1:]}, nil
}

// ParseChallenge reads what the peer asks.
func ParseChallenge(algorithm, id, value string) (*Challenge, error) {
	if find(algorithm) == nil {
		return nil, fmt.Errorf("%w: %.40q", ErrNoCommon, algorithm)
	}
	var n uint8
	if _, err := fmt.Sscanf(id, "%d", &n); err != nil {
		return nil, fmt.Errorf("%w: %s=%.40q", pdu.ErrMalformed, KeyID, id)
	}
	p, err := pdu.ParseBinary(value, maxChallenge)
	if err != nil || len(p) == 0 {
		return nil, fmt.Errorf("%w: %s", pdu.ErrMalformed, KeyChallenge)
	}
	return &Challenge{algorithm, n, p}, nil
}

// Pairs are the keys that put the challenge to the peer.
func (c *Challenge) Pairs() []pdu.Pair {
	return []pdu.Pair{{Key: KeyID, Value: fmt.Sprint(c.ID)}, {Key: KeyChallenge, Value: pdu.FormatBinary(c.Value)}}
}

// respond is the hash over identifier, secret and challenge (RFC 1994 4.1).
func (c *Challenge) respond(secret string) []byte {
	h := find(c.Algorithm)()
	h.Write([]byte{c.ID})
	h.Write([]byte(secret))
	h.Write(c.Value)
	return h.Sum(nil)
}

// Answer returns the keys that prove s. mine is the challenge that we put to the peer, nil if there is none: a peer that
// sends it back wants us to compute its own answer (RFC 7143 12.1.3).
func (c *Challenge) Answer(s Secret, mine *Challenge) ([]pdu.Pair, error) {
	if mine != nil && hmac.Equal(mine.Value, c.Value) {
		return nil, ErrReflected
	}
	return []pdu.Pair{{Key: KeyName, Value: s.Name}, {Key: KeyResponse, Value: pdu.FormatBinary(c.respond(s.Secret))}}, nil
}

// Check returns nil if name and response prove s.
func (c *Challenge) Check(s Secret, name, response string) error {
	want := c.respond(s.Secret)
	got, err := pdu.ParseBinary(response, len(want))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	named := hmac.Equal([]byte(name), []byte(s.Name))
	if proved := hmac.Equal(got, want); !named || !proved {
		return ErrFailed
	}
	return nil
}
