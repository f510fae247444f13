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

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/iscsi/initiator"
	"github.com/covol/covol/iscsi/pdu"
	"github.com/covol/covol/ondisk/sched"
)

// remoteDevice is a logical unit of an iSCSI target. It has no locks of the host: hosts share it.
type remoteDevice struct{ *initiator.Device }

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
	dev, err := initiator.Open(context.Background(), path, initiator.Options{
		Name: initiatorName(), ISID: isid, Clock: sched.Real{}, Random: rand.Reader, Log: slog.Default(),
	})
	var refused *initiator.LoginError
	switch {
	case err == nil:
		return remoteDevice{dev}, nil
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
