package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tokenRecord is what the issuer keeps of a token: enough to check it, not to use it.
type tokenRecord struct {
	Public  []byte    `json:"public"` // Ed25519
	Node    string    `json:"node,omitempty"`
	Expires time.Time `json:"expires"`
	Tries   int       `json:"tries,omitempty"` // wrong proofs so far
	UsedBy  string    `json:"used_by,omitempty"`
	Used    time.Time `json:"used,omitzero"`
}

const (
	maxTries = 5
	// MaxTTL bounds the life of a token.
	MaxTTL = 30 * 24 * time.Hour
	// keepUsed is how long an ended token is remembered, to say so to who uses it again.
	keepUsed = 7 * 24 * time.Hour
	// maxTokens bounds the tokens that are remembered.
	maxTokens = 1000
)

// NewToken makes a token that lets one node in. If node is not empty, only a node of that name; it may then also
// replace the key of a node that had the name.
func (m *Member) NewToken(addr, node string, ttl time.Duration, now time.Time) (*Token, error) {
	if !m.Issuer() {
		return nil, ErrNotIssuer
	}
	if ttl <= 0 || ttl > MaxTTL {
		return nil, fmt.Errorf("a token of %s: want more than 0, at most %s", ttl, MaxTTL)
	}
	if node != "" {
		if err := CheckName(node); err != nil {
			return nil, err
		}
	}
	if err := CheckAddr(addr); err != nil {
		return nil, err
	}
	t := &Token{Cluster: m.Info.Cluster, CA: m.Info.CA, Addr: addr}
	_, _ = rand.Read(t.ID[:]) // never fails
	_, _ = rand.Read(t.Secret[:])
	s, err := m.Dir.lockTokens()
	if err != nil {
		return nil, err
	}
	defer s.unlock()
	if err := s.purge(now); err != nil {
		return nil, err
	}
	pub := t.key().Public().(ed25519.PublicKey)
	return t, s.save(t.ID, &tokenRecord{Public: pub, Node: node, Expires: now.Add(ttl).UTC()}, false)
}

// ErrNotIssuer says that a node has no key of the authority.
var ErrNotIssuer = errors.New("the key of the cluster's authority is not on this host")

// tokenStore is the tokens directory, locked.
type tokenStore struct {
	dir  Dir
	lock *os.File
}

func (d Dir) lockTokens() (*tokenStore, error) {
	if err := os.MkdirAll(d.path(dirTokens), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path(dirTokens, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the tokens: %w", err), f.Close())
	}
	return &tokenStore{dir: d, lock: f}, nil
}

func (s *tokenStore) unlock() { _ = s.lock.Close() }

func tokenFile(id TokenID) string { return dirTokens + "/" + id.String() + ".json" }

func (s *tokenStore) load(id TokenID) (*tokenRecord, error) { return s.loadFile(tokenFile(id)) }

func (s *tokenStore) loadFile(name string) (*tokenRecord, error) {
	b, err := s.dir.read(name)
	if err != nil {
		return nil, err
	}
	r := &tokenRecord{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", s.dir.path(name), err)
	}
	if len(r.Public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%s: a key of %d bytes", s.dir.path(name), len(r.Public))
	}
	return r, nil
}

func (s *tokenStore) save(id TokenID, r *tokenRecord, replace bool) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.dir.write(tokenFile(id), append(b, '\n'), replace)
}

// purge forgets tokens that ended long ago.
func (s *tokenStore) purge(now time.Time) error {
	entries, err := os.ReadDir(s.dir.path(dirTokens))
	if err != nil {
		return err
	}
	left := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		name := dirTokens + "/" + e.Name()
		r, err := s.loadFile(name)
		if err == nil && now.Before(r.Expires.Add(keepUsed)) {
			left++
			continue
		}
		if err := os.Remove(s.dir.path(name)); err != nil {
			return err
		}
	}
	if left >= maxTokens {
		return fmt.Errorf("there are %d tokens already: remove some from %s", left, s.dir.path(dirTokens))
	}
	return nil
}

// errWrongProof is what a wrong proof and an unknown token are answered alike.
var errWrongProof = errors.New("the token is not known here: it may be of another cluster, mistyped, or ended long ago")

// check judges a proof. Every wrong one counts and the last one voids the token.
func (s *tokenStore) check(id TokenID, node string, statement, proof []byte, now time.Time) (*tokenRecord, error) {
	r, err := s.load(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errWrongProof
	}
	switch {
	case err != nil:
		return nil, err
	case r.Tries >= maxTries:
		return nil, errors.New("the token is void: somebody tried to guess its secret. Make a new one")
	case !ed25519.Verify(r.Public, statement, proof):
		r.Tries++
		return nil, errors.Join(errWrongProof, s.save(id, r, true))
	case r.UsedBy != "":
		return nil, fmt.Errorf("the token was used by node %q on %s already: each lets in one node. Make a new one", r.UsedBy, day(r.Used))
	case !now.Before(r.Expires):
		return nil, fmt.Errorf("the token ended on %s. Make a new one", day(r.Expires))
	case r.Node != "" && r.Node != node:
		return nil, fmt.Errorf("the token was made for node %q, not for %q", r.Node, node)
	}
	return r, nil
}
