package pki

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// wireVersion is the version of the messages between a node and the issuer.
const wireVersion = 1

// maxMessage bounds a message, which is a be32 length and so many bytes of JSON.
const maxMessage = 16 << 10

const (
	kindJoin  = "join"
	kindRenew = "renew"
)

// request is what a node asks the issuer for. The fields from Token on are of kindJoin alone.
type request struct {
	Version int     `json:"version"`
	Kind    string  `json:"kind"`
	Node    string  `json:"node"`
	Token   TokenID `json:"token,omitzero"`
	CSR     []byte  `json:"csr,omitempty"`   // PKCS #10, DER
	Proof   []byte  `json:"proof,omitempty"` // signature of statement
}

// answer is a refusal, or what was asked for.
type answer struct {
	Version int    `json:"version"`
	Refused string `json:"refused,omitempty"` // the reason, for people
	Name    string `json:"name,omitempty"`    // of the cluster
	Cert    []byte `json:"cert,omitempty"`    // DER
	Gossip  []byte `json:"gossip,omitempty"`
}

func writeMessage(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("a message of %d bytes is longer than %d", len(b), maxMessage)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// readMessage allocates nothing before the length is known to be allowed.
func readMessage(r io.Reader, v any) error {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(n[:])
	if size == 0 || size > maxMessage {
		return fmt.Errorf("a message of %d bytes: want 1 to %d", size, maxMessage)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("malformed message: %w", err)
	}
	return nil
}
