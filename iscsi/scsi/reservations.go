package scsi

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Type is the type of a persistent reservation (SPC-4 table 69).
type Type byte

// The types.
const (
	WriteExclusive               Type = 1
	ExclusiveAccess              Type = 3
	WriteExclusiveRegistrants    Type = 5
	ExclusiveAccessRegistrants   Type = 6
	WriteExclusiveAllRegistrants Type = 7
	ExclusiveAccessAll           Type = 8
)

// typeTable says what the types mean.
var typeTable = map[Type]struct {
	exclusive   bool // keeps others from reading too
	registrants bool // all that are registered may do what the holder may
	all         bool // all that are registered are holders
}{
	WriteExclusive:               {false, false, false},
	ExclusiveAccess:              {true, false, false},
	WriteExclusiveRegistrants:    {false, true, false},
	ExclusiveAccessRegistrants:   {true, true, false},
	WriteExclusiveAllRegistrants: {false, true, true},
	ExclusiveAccessAll:           {true, true, true},
}

// maxRegistrations bounds what initiators can make us keep.
const maxRegistrations = 1024

// registration is a nexus with its key.
type registration struct {
	Nexus Nexus
	Key   uint64
}

// reservations are registrations and reservation of a unit (SPC-4 5.12). The zero value has none. It is a value: a
// command changes a copy, which takes the place of the old one once it is kept.
type reservations struct {
	Generation uint32 // PRGENERATION
	Registered []registration
	Type       Type  // of the reservation, 0 if there is none
	Holder     Nexus // unless all registrants hold it
	Persist    bool  // APTPL
}

func (p *reservations) clone() reservations {
	c := *p
	c.Registered = slices.Clone(p.Registered)
	return c
}

func (p *reservations) find(n Nexus) int {
	return slices.IndexFunc(p.Registered, func(r registration) bool { return r.Nexus == n })
}

// holds reports whether n holds the reservation.
func (p *reservations) holds(n Nexus) bool {
	if p.Type == 0 {
		return false
	}
	if typeTable[p.Type].all {
		return p.find(n) >= 0
	}
	return p.Holder == n
}

// refuses reports whether a command of n conflicts (SPC-4 table 66).
func (p *reservations) refuses(n Nexus, a access) bool {
	if p.Type == 0 || p.holds(n) {
		return false
	}
	t := typeTable[p.Type]
	if t.registrants && p.find(n) >= 0 {
		return false
	}
	return a == accessWrite || a == accessRead && t.exclusive
}

// forget removes the registrations that match, and the reservation if its holder is among them. Returned are those that
// are gone, and whether the reservation went with them.
func (p *reservations) forget(match func(registration) bool) (gone []registration, released bool) {
	keep := p.Registered[:0:0]
	for _, r := range p.Registered {
		if match(r) {
			gone = append(gone, r)
		} else {
			keep = append(keep, r)
		}
	}
	p.Registered = keep
	if p.Type == 0 {
		return gone, false
	}
	if all := typeTable[p.Type].all; all && len(keep) > 0 || !all && p.find(p.Holder) >= 0 {
		return gone, false
	}
	p.Type, p.Holder = 0, Nexus{}
	return gone, true
}

// Keeper keeps what must survive a restart. Save returns nil once data is on stable storage in place of what was there,
// and leaves the old if it fails.
type Keeper interface {
	Load() ([]byte, error) // nil if nothing was saved
	Save(data []byte) error
}

// kept is the format of a Keeper's data.
const keptVersion = 1

type kept struct {
	Version int
	reservations
}

func loadReservations(k Keeper) (reservations, error) {
	data, err := k.Load()
	if err != nil || data == nil {
		return reservations{}, err
	}
	var v kept
	if err := json.Unmarshal(data, &v); err != nil {
		return reservations{}, err
	}
	if v.Version != keptVersion || len(v.Registered) > maxRegistrations {
		return reservations{}, fmt.Errorf("version %d with %d registrations", v.Version, len(v.Registered))
	}
	if _, known := typeTable[v.Type]; !known && v.Type != 0 {
		return reservations{}, fmt.Errorf("reservation of type %d", v.Type)
	}
	// PRGENERATION starts again at zero (SPC-4 6.15.2).
	v.Generation = 0
	return v.reservations, nil
}

// save keeps p if it is to be kept, or that there is nothing where something was.
func (p *reservations) save(k Keeper, before *reservations) error {
	if k == nil || !p.Persist && !before.Persist {
		return nil
	}
	v := kept{Version: keptVersion}
	if p.Persist {
		v.reservations = *p
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return k.Save(data)
}
