package fence

import (
	"context"
	"errors"
	"time"

	"github.com/covol/covol/cluster/view"
)

// ErrNoProof is the answer of a method that cannot prove the death now; the victim may be alive. Test with errors.Is.
var ErrNoProof = errors.New("no proof of death")

// ErrFenced is returned by Registrar.Check when this node has been put out by another one. Test with errors.Is.
var ErrFenced = errors.New("this node has been fenced")

// Victim is a life that somebody wants to declare dead.
type Victim struct {
	view.NodeID
	Name, Addr string
	// Host and Boot say under which kernel it runs; zero if it holds no lock there.
	Host, Boot [16]byte
	// Unchanged is how long its heartbeat block has certainly not changed, by the looks of the node that asks.
	Unchanged time.Duration
}

// Proof says why a life is over.
type Proof struct {
	Method string // Method.Name, or "person"
	Text   string // for people; may be empty
	// Settle says that what the victim had sent to the storage may still land, for the bound of one I/O.
	Settle bool
}

func (p Proof) String() string {
	if p.Text == "" {
		return p.Method
	}
	return p.Method + ": " + p.Text
}

// Method proves deaths. Its calls may come from several procedures.
type Method interface {
	// Name is what people call it, such as "host" or "lease".
	Name() string
	// Forces reports whether Prove acts on the victim or takes time. One that does not must answer at once, and is also
	// asked on a mere hint.
	Forces() bool
	// Prove returns a proof, or ErrNoProof or another error for none. It is asked again later. ctx ends when the answer
	// is not wanted any more.
	Prove(ctx context.Context, v Victim) (Proof, error)
}

// Self is the life of the node that fences.
type Self struct {
	view.NodeID
	Volume [16]byte // UUID
	Name   string
}

// Registrar is a Method by which a node must make itself known at the storage in order to write.
type Registrar interface {
	Method
	// Register is called before the first write of a life, its claim of a slot, and again with another life if that claim
	// fails. An error stops the claim, which is tried again.
	Register(ctx context.Context, me Self) error
	// Check returns ErrFenced if another node has put this life out. It is called now and then, and always before a lease
	// that had run out counts again. A method must never register a fenced life again.
	Check(ctx context.Context) error
	// Unregister is called when the last I/O of the life is over.
	Unregister(ctx context.Context) error
}
