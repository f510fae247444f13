package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/iscsi/initiator"
	"github.com/covol/covol/iscsi/pdu"
	"github.com/covol/covol/ondisk/sched"
)

// remoteDevice is a logical unit of an iSCSI target. It has no locks of the host: hosts share it.
type remoteDevice struct {
	*initiator.Device
	begin *atomic.Pointer[func(write bool) error] // asked before anything is sent again
}

func (d remoteDevice) Path() string                 { return d.URL() }
func (d remoteDevice) hostLocks() cluster.HostLocks { return nil }

// onlyHere: a target on loopback is a lab's.
func (d remoteDevice) onlyHere() bool {
	host, _, err := net.SplitHostPort(d.Portal())
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func isRemote(path string) bool { return strings.HasPrefix(path, initiator.Scheme) }

// shown is how a device is shown to people: without a password.
func shown(path string) string {
	if u, err := initiator.ParseURL(path); err == nil {
		return u.String()
	}
	return path
}

func openRemote(path string) (device, error) {
	isid, err := randomISID()
	if err != nil {
		return nil, err
	}
	begin := new(atomic.Pointer[func(bool) error])
	dev, err := initiator.Open(context.Background(), path, initiator.Options{
		Name: initiatorName(), ISID: isid, Clock: sched.Real{}, Random: rand.Reader, Log: slog.Default(),
		Begin: func(write bool) error {
			if ask := begin.Load(); ask != nil {
				return (*ask)(write)
			}
			return nil
		},
	})
	var refused *initiator.LoginError
	switch {
	case err == nil:
		return remoteDevice{dev, begin}, nil
	case errors.Is(err, initiator.ErrURL):
		return nil, hint(err, "Such as iscsi://127.0.0.1:3260/%slun.img/0", targetPrefix)
	case errors.As(err, &refused) && refused.Status == pdu.LoginAuthFailed:
		return nil, hint(err, "Give user and password: iscsi://USER%%PASSWORD@HOST/TARGET/LUN")
	case errors.As(err, &refused):
		return nil, hint(err, "The target log says more. Its targets are listed by: iscsi-ls iscsi://HOST")
	}
	return nil, hint(err, "Is the target served there? A target of covol is looked at by: covol target status --portal HOST:PORT")
}

// initiatorName names this host.
func initiatorName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return targetPrefix + "host:" + strings.ToLower(strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, host))
}

// randomISID makes an initiator port of its own for each path (RFC 7143 11.12.5, the random format).
func randomISID() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[3:]); err != nil {
		return 0, err
	}
	return 0x800000000000 | binary.BigEndian.Uint64(b[:])&0xffffffffff, nil
}

const (
	repeatLook = 20 * time.Millisecond
	repeatTime = 30 * time.Second
)

// mayRepeat is asked before the data path sends a write again that an earlier connection may have carried: it waits until
// the lease has room for a write, as the gate did when the write was new, and refuses once the node has lost the volume.
func (n *node) mayRepeat(write bool) error {
	if !write {
		return nil
	}
	profile := n.super.Profile
	for begun := time.Now(); time.Since(begun) < repeatTime; time.Sleep(repeatLook) {
		m := n.up.Load()
		if m == nil {
			return nil // not joined: nothing of its lease is used
		}
		if err := m.Lost(); err != nil {
			return err
		}
		if m.Status().LeaseLeft >= max(0, min(profile.IOBound, profile.Lease-3*profile.Heartbeat)) {
			return nil
		}
	}
	return errors.New("no lease to send a write again")
}
