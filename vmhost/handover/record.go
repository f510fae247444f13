package handover

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Node names a node of the cluster. No two nodes have one name.
type Node string

// State is what a record says of a VM.
type State string

const (
	// Stopped: nobody runs it. Owner is who ran it last.
	Stopped State = "stopped"
	// Running: Owner runs it, or may at any time.
	Running State = "running"
	// Migrating: Owner runs it until it says GO; then Target may take it.
	Migrating State = "migrating"
)

// Record is what all nodes believe about a VM. It is comparable: a swap compares all of it.
type Record struct {
	VM     string `json:"vm"`
	State  State  `json:"state"`
	Owner  Node   `json:"owner"`
	Target Node   `json:"target,omitempty"`
	Epoch  uint64 `json:"epoch"` // grows whenever somebody is named Running; disks are locked at it
}

func (r Record) String() string {
	switch r.State {
	case Migrating:
		return fmt.Sprintf("%s(%s to %s, epoch %d)", r.State, r.Owner, r.Target, r.Epoch)
	case "":
		return "no record"
	}
	return fmt.Sprintf("%s(%s, epoch %d)", r.State, r.Owner, r.Epoch)
}

// runningOn is the record after r that names n.
func (r Record) runningOn(n Node) Record {
	return Record{VM: r.VM, State: Running, Owner: n, Epoch: r.Epoch + 1}
}

// migratingTo is the record by which r's owner begins to give the VM to n.
func (r Record) migratingTo(n Node) Record {
	return Record{VM: r.VM, State: Migrating, Owner: r.Owner, Target: n, Epoch: r.Epoch}
}

// runs reports whether r names n at exactly that epoch.
func (r Record) runs(n Node, epoch uint64) bool {
	return r.State == Running && r.Owner == n && r.Epoch == epoch
}

// maxRecord bounds an encoded record, bytes.
const maxRecord = 4096

// ErrRecord is the class of records that cannot be read.
var ErrRecord = errors.New("damaged record of a virtual machine")

// recordVersion is the version of the encoding.
const recordVersion = 1

type encoded struct {
	Version int `json:"version"`
	Record
}

// Encode returns r as it is stored.
func (r Record) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(encoded{recordVersion, r})
	if err == nil && len(b) > maxRecord {
		err = fmt.Errorf("encode record: %d bytes, at most %d fit", len(b), maxRecord)
	}
	return b, err
}

// DecodeRecord reads what Encode wrote. Errors are ErrRecord.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) > maxRecord {
		return Record{}, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	var e encoded
	if err := json.Unmarshal(b, &e); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if e.Version != recordVersion {
		return Record{}, fmt.Errorf("%w: version %d, this program knows %d", ErrRecord, e.Version, recordVersion)
	}
	return e.Record, e.check()
}

func (r Record) check() error {
	switch {
	case r.VM == "" || r.Owner == "" || r.Epoch == 0:
		return fmt.Errorf("%w: without name, owner or epoch", ErrRecord)
	case r.State != Stopped && r.State != Running && r.State != Migrating:
		return fmt.Errorf("%w: state %q", ErrRecord, r.State)
	case (r.State == Migrating) != (r.Target != ""), r.Target == r.Owner:
		return fmt.Errorf("%w: %s, target %q", ErrRecord, r, r.Target)
	}
	return nil
}
