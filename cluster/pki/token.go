package pki

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"strconv"
	"strings"
)

// TokenID is the public number of a token.
type TokenID [8]byte

func (id TokenID) String() string { return hex.EncodeToString(id[:]) }

// Token lets one node into a cluster, once. Who has it can use it: treat its text as a password.
type Token struct {
	Cluster ClusterID
	CA      Fingerprint
	ID      TokenID
	Secret  [16]byte
	Addr    string // HOST:PORT of the issuer
}

// The text of a token is the prefix and, in unpadded URL base64:
//
//	 0  u8        version, 1
//	 1  16 bytes  cluster
//	17  32 bytes  fingerprint of the authority
//	49  8 bytes   ID
//	57  16 bytes  secret
//	73  u8        length of the address
//	74  ...       address
//	    be32      CRC32C of the bytes before, against slips of the hand
const (
	tokenPrefix  = "covol-token-"
	tokenVersion = 1
	tokenFixed   = 74
	maxAddr      = 200
)

// ErrToken is the class of texts that are no token.
var ErrToken = errors.New("not a token of covol")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// String is the text that a person carries to the new node.
func (t *Token) String() string {
	b := append([]byte{tokenVersion}, t.Cluster[:]...)
	b = append(b, t.CA[:]...)
	b = append(b, t.ID[:]...)
	b = append(b, t.Secret[:]...)
	b = append(b, byte(len(t.Addr)))
	b = append(b, t.Addr...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken is the inverse of String.
func ParseToken(text string) (*Token, error) {
	enc, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrToken, tokenPrefix)
	}
	if len(enc) > base64.RawURLEncoding.EncodedLen(tokenFixed+maxAddr+4) {
		return nil, fmt.Errorf("%w: it is too long", ErrToken)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(enc)
	if err != nil || len(b) < tokenFixed+4 {
		return nil, fmt.Errorf("%w: part of it is missing or changed", ErrToken)
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	switch {
	case crc32.Checksum(body, castagnoli) != sum:
		return nil, fmt.Errorf("%w: part of it is missing or changed", ErrToken)
	case body[0] != tokenVersion:
		return nil, fmt.Errorf("%w: it is of version %d, this program knows %d", ErrToken, body[0], tokenVersion)
	case int(body[tokenFixed-1]) != len(body)-tokenFixed:
		return nil, fmt.Errorf("%w: wrong length", ErrToken)
	}
	t := &Token{Addr: string(body[tokenFixed:])}
	copy(t.Cluster[:], body[1:])
	copy(t.CA[:], body[17:])
	copy(t.ID[:], body[49:])
	copy(t.Secret[:], body[57:])
	if err := CheckAddr(t.Addr); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return t, nil
}

// CheckAddr holds an address to HOST:PORT as a token has room for.
func CheckAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil || n == 0 || len(addr) > maxAddr {
		return fmt.Errorf("%q: want HOST:PORT", addr)
	}
	return nil
}

// key is the key that proves the token.
func (t *Token) key() ed25519.PrivateKey {
	seed := sha256.Sum256(append([]byte("covol token seed 1\x00"), t.Secret[:]...))
	return ed25519.NewKeyFromSeed(seed[:])
}

// statement is what the holder of a token signs: these very bytes on this very channel.
func statement(exporter []byte, id TokenID, node string, request []byte) []byte {
	sum := sha256.Sum256(request)
	b := append([]byte("covol enrol 1\x00"), exporter...)
	b = append(b, id[:]...)
	b = append(b, sum[:]...)
	return append(b, node...)
}
