package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/covol/covol/cluster/fence/reservation"
	"github.com/covol/covol/iscsi/reserve"
)

// registrations are the reservations of a node's device.
type registrations struct {
	method *reservation.Reservation // nil if the device has none that can fence
	why    error                    // then
}

// errNoReservations is for devices that are no logical units of a target.
var errNoReservations = errors.New("this device has no persistent reservations: only iscsi:// URLs have")

// registrationsOf makes the method of a node with these sessions.
func registrationsOf(ctx context.Context, devs ...device) (r registrations, err error) {
	sessions := sessionsOf(devs...)
	if sessions == nil {
		return registrations{why: errNoReservations}, nil
	}
	for _, s := range sessions {
		if err := s.(reserve.Session).Fit(ctx); errors.Is(err, reserve.ErrUnfit) {
			return registrations{why: err}, nil
		} else if err != nil {
			return r, err
		}
	}
	return registrations{method: reservation.New(sessions...)}, nil
}

// sessionsOf are the sessions behind devices, nil if one of them is none.
func sessionsOf(devs ...device) (all []reservation.Unit) {
	for _, d := range devs {
		remote, ok := d.(remoteDevice)
		if !ok {
			return nil
		}
		all = append(all, reserve.New(remote.Device))
	}
	return all
}

// enterReserved registers a tool on its sessions, if nodes that died have left the volume reserved. The tool is nil if there
// is nothing to do.
func enterReserved(ctx context.Context, volume [16]byte, say func(string), devs ...device) (*reservation.Tool, error) {
	sessions := sessionsOf(devs...)
	if sessions == nil || errors.Is(sessions[0].(reserve.Session).Fit(ctx), reserve.ErrUnfit) {
		return nil, nil
	}
	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	tool, err := reservation.Enter(ctx, volume, binary.BigEndian.Uint32(id[:]), sessions...)
	if errors.Is(err, reservation.ErrForeign) {
		return nil, hint(err, "Whoever uses this unit is not covol. What it is shows: sg_persist --in --read-reservation")
	}
	if err == nil && tool != nil {
		say("the unit is reserved; this program has registered to write")
	}
	return tool, err
}

// clearReserved removes what nodes have left, once none can be there.
func clearReserved(ctx context.Context, tool *reservation.Tool, say func(string)) error {
	if tool == nil {
		return nil
	}
	keys, err := tool.Clear(ctx)
	if err != nil {
		return fmt.Errorf("remove the keys that were left: %w", err)
	}
	if len(keys) > 0 {
		var names []string
		for _, k := range keys {
			names = append(names, k.String())
		}
		say("removed the registrations that earlier nodes have left: " + strings.Join(names, ", "))
	}
	return nil
}

// leaveReserved takes the registration of a tool back; err is how its work ended.
func leaveReserved(ctx context.Context, tool *reservation.Tool, err error) error {
	if tool == nil {
		return err
	}
	if e := tool.Leave(context.WithoutCancel(ctx)); e != nil {
		return errors.Join(err, fmt.Errorf("take the registration back: %w", e))
	}
	return err
}
