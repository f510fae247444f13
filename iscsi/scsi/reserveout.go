package scsi

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Service actions of PERSISTENT RESERVE OUT (SPC-4 table 203).
const (
	actionRegister       = 0
	actionReserve        = 1
	actionRelease        = 2
	actionClear          = 3
	actionPreempt        = 4
	actionPreemptAbort   = 5
	actionRegisterIgnore = 6
	actionMove           = 7
)

// reserveOutLen is the length of the parameter list of all actions but REGISTER AND MOVE (SPC-4 6.16.3).
const reserveOutLen = 24

// reserveList is that parameter list.
type reserveList struct {
	key, serviceKey uint64
	persist         bool
	scope           byte
	kind            Type
	rest            []byte // of REGISTER AND MOVE, from byte 16 on
}

// change is a PERSISTENT RESERVE OUT at work: the state to be, and who must be told.
type change struct {
	reservations
	me   Nexus
	list reserveList
	tell []notice
}

type notice struct {
	n Nexus
	c Code
}

// runReserveOut works on a copy of the state, keeps it, and only then makes it the unit's.
func runReserveOut(_ context.Context, r *request) ([]byte, error) {
	action := int(r.CDB[1] & 0x1f)
	list, err := r.reserveParams(action)
	if err != nil {
		return nil, err
	}
	c := &change{reservations: r.u.pr.clone(), me: r.Nexus, list: list}
	if err := c.apply(action); err != nil {
		return nil, err
	}
	if err := c.save(r.u.opts.Keeper, &r.u.pr); err != nil {
		return nil, fmt.Errorf("keep reservations: %w: %w", &Sense{Key: HardwareError, Code: InternalFailure}, err)
	}
	r.u.pr = c.reservations
	for _, t := range c.tell {
		r.u.attn.raise(t.n, t.c)
	}
	return nil, nil
}

func (r *request) reserveParams(action int) (l reserveList, err error) {
	const specPorts, allPorts, persist = 0x08, 0x04, 0x01
	p, err := r.whole(int(number(r.CDB[5:9])))
	if err != nil {
		return l, err
	}
	if len(p) < reserveOutLen || action != actionMove && len(p) != reserveOutLen {
		return l, illegal(ParamListLength)
	}
	l = reserveList{key: binary.BigEndian.Uint64(p), serviceKey: binary.BigEndian.Uint64(p[8:]), scope: r.CDB[2] >> 4, kind: Type(r.CDB[2] & 0xf), rest: p[16:]}
	switch action {
	case actionRegister, actionRegisterIgnore:
		if p[20]&(specPorts|allPorts) != 0 {
			return l, badParam(20)
		}
		l.persist = p[20]&persist != 0
	case actionMove:
		l.persist = p[17]&persist != 0
	case actionReserve, actionRelease, actionPreempt, actionPreemptAbort:
		if _, known := typeTable[l.kind]; l.scope != 0 || !known && action != actionRelease {
			return l, badField(2)
		}
	}
	if l.persist && r.u.opts.Keeper == nil {
		return l, badParam(20)
	}
	return l, nil
}

func (c *change) apply(action int) error {
	mine := c.find(c.me)
	switch action {
	case actionRegister, actionRegisterIgnore:
		return c.register(mine, action == actionRegisterIgnore)
	}
	// All others are for registered nexuses that know their key (SPC-4 5.12.5 ff).
	if mine < 0 || c.Registered[mine].Key != c.list.key {
		return errConflict
	}
	switch action {
	case actionReserve:
		return c.reserve()
	case actionRelease:
		return c.release()
	case actionClear:
		return c.clear()
	case actionMove:
		return c.move()
	}
	return c.preempt()
}

// others are told by all registered nexuses but the sender.
func (c *change) others(code Code) {
	for _, r := range c.Registered {
		if r.Nexus != c.me {
			c.tell = append(c.tell, notice{r.Nexus, code})
		}
	}
}

// register is REGISTER and REGISTER AND IGNORE EXISTING KEY (SPC-4 5.12.7, table 50).
func (c *change) register(mine int, ignore bool) error {
	if !ignore {
		var key uint64
		if mine >= 0 {
			key = c.Registered[mine].Key
		}
		if key != c.list.key {
			return errConflict
		}
	}
	switch {
	case c.list.serviceKey == 0 && mine >= 0:
		kind := c.Type
		if _, released := c.forget(func(r registration) bool { return r.Nexus == c.me }); released && typeTable[kind].registrants {
			c.others(ReservationsReleased)
		}
	case c.list.serviceKey == 0:
		return nil // not registered and not to be
	case mine >= 0:
		c.Registered[mine].Key = c.list.serviceKey
	case len(c.Registered) >= maxRegistrations:
		return illegal(InsufficientRegistration)
	default:
		c.Registered = append(c.Registered, registration{c.me, c.list.serviceKey})
	}
	c.Generation++
	c.Persist = c.list.persist
	return nil
}

// reserve is RESERVE (SPC-4 5.12.9).
func (c *change) reserve() error {
	switch {
	case c.Type == 0:
		c.Type, c.Holder = c.list.kind, c.me
	case !c.holds(c.me) || c.Type != c.list.kind:
		return errConflict
	}
	return nil
}

// release is RELEASE (SPC-4 5.12.11.2).
func (c *change) release() error {
	if !c.holds(c.me) {
		return nil
	}
	if c.Type != c.list.kind {
		return illegal(InvalidRelease)
	}
	if typeTable[c.Type].registrants {
		c.others(ReservationsReleased)
	}
	c.Type, c.Holder = 0, Nexus{}
	return nil
}

// clear is CLEAR (SPC-4 5.12.11.5).
func (c *change) clear() error {
	c.others(ReservationsPreempted)
	c.Registered, c.Type, c.Holder = nil, 0, Nexus{}
	c.Generation++
	return nil
}

// preempt is PREEMPT and PREEMPT AND ABORT (SPC-4 5.12.11.4). What there would be to abort has ended: see the invariants.
func (c *change) preempt() error {
	victim := c.list.serviceKey
	all := typeTable[c.Type].all
	takes := c.Type != 0 && (all && victim == 0 || !all && c.holderKey() == victim)
	if victim == 0 && !takes {
		return badParam(8)
	}
	match := func(r registration) bool { return r.Key == victim }
	if takes {
		match = func(r registration) bool { return r.Nexus != c.me && (all || r.Key == victim) }
	}
	kind := c.Type
	if takes {
		// The new reservation is there before the old holder goes, so that it is never released between.
		c.Type, c.Holder = c.list.kind, c.me
	}
	gone, released := c.forget(match)
	if len(gone) == 0 && !takes {
		return errConflict
	}
	for _, r := range gone {
		if r.Nexus != c.me {
			c.tell = append(c.tell, notice{r.Nexus, RegistrationsPreempted})
		}
	}
	if released || takes && kind != c.Type {
		c.others(ReservationsReleased)
	}
	c.Generation++
	return nil
}

func (c *change) holderKey() uint64 {
	if i := c.find(c.Holder); i >= 0 {
		return c.Registered[i].Key
	}
	return 0
}

// move is REGISTER AND MOVE (SPC-4 5.12.8).
func (c *change) move() error {
	const unregister = 0x02
	p := c.list.rest // from byte 16
	n := int(binary.BigEndian.Uint32(p[4:]))
	if n != len(p)-8 {
		return illegal(ParamListLength)
	}
	if !c.holds(c.me) || typeTable[c.Type].all {
		return errConflict
	}
	name, ok := parseTransportID(p[8:])
	to := Nexus{name, binary.BigEndian.Uint16(p[2:])}
	switch {
	case c.list.serviceKey == 0:
		return badParam(8)
	case !ok || to == c.me:
		return badParam(24)
	}
	if i := c.find(to); i >= 0 {
		c.Registered[i].Key = c.list.serviceKey
	} else if len(c.Registered) >= maxRegistrations {
		return illegal(InsufficientRegistration)
	} else {
		c.Registered = append(c.Registered, registration{to, c.list.serviceKey})
	}
	c.Holder = to
	if p[1]&unregister != 0 {
		c.forget(func(r registration) bool { return r.Nexus == c.me })
	}
	c.Generation++
	c.Persist = c.list.persist
	return nil
}
