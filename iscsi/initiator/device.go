package initiator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/covol/covol/iscsi/chap"
	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Options are what a Device needs; Name, ISID, Clock and Random must be set.
type Options struct {
	Name   string      // iSCSI name of the initiator
	ISID   uint64      // 48 bits; with the name it is the initiator port, which holds registrations and has one session
	Mutual chap.Secret // that the target must prove; zero asks for none
	Digest bool        // ask for digests of headers and data
	Clock  sched.Scheduler
	Random io.Reader
	Log    *slog.Logger
	Dial   func(ctx context.Context, portal string) (net.Conn, error) // nil is TCP

	// Begin is asked before an operation is sent again, or is sent first after it has waited; its error ends the
	// operation. nil allows all. Operations of Submit that have a Begin of their own ask that instead, every time.
	Begin func(write bool) error
	// Attention is told of unit attentions. It must not wait for operations of the device. nil ignores them.
	Attention func(scsi.Code)
	// Unique says that what CompareAndWrite writes is never written by another, so that finding it there after a lost
	// answer means success.
	Unique bool

	OpTime     time.Duration // bound of an operation from its submission on, 30 s
	LoginTime  time.Duration // of one attempt to log in, 5 s
	PingTime   time.Duration // of silence before a NOP-Out, and after it before the connection is given up, 5 s
	QueueDepth int           // operations sent at once, 128
}

func (o *Options) defaults() {
	if o.OpTime == 0 {
		o.OpTime = 30 * time.Second
	}
	if o.LoginTime == 0 {
		o.LoginTime = 5 * time.Second
	}
	if o.PingTime == 0 {
		o.PingTime = 5 * time.Second
	}
	if o.QueueDepth == 0 {
		o.QueueDepth = 128
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, portal string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", portal)
		}
	}
}

// Errors; test with errors.Is.
var (
	ErrUncertain = errors.New("the answer was lost, so whether it was done is not known")
	ErrTimeout   = errors.New("no answer in time")
	ErrClosed    = errors.New("device is closed")
	ErrChanged   = errors.New("the unit behind the URL is another one now")
)

// Device is a logical unit. Its methods may be called concurrently.
type Device struct {
	o      Options
	url    *URL
	geo    blockdev.Geometry
	limits limits
	id     string // identity of the unit, see probe

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	over   chan struct{} // closed when run has ended

	mu sync.Mutex
	// GUARDED_BY(mu)
	queue []*op // that wait to be sent
	// GUARDED_BY(mu)
	link *link // that is logged in, nil if there is none
	// GUARDED_BY(mu)
	dead error // why the device can do nothing any more
}

var (
	_ blockdev.Device           = (*Device)(nil)
	_ blockdev.CompareAndWriter = (*Device)(nil)
	_ blockdev.Submitter        = (*Device)(nil)
)

// Open logs in at the first portal that answers. ctx bounds the opening only.
func Open(ctx context.Context, rawURL string, o Options) (*Device, error) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if o.Name == "" || o.Clock == nil || o.Random == nil {
		return nil, errors.New("initiator without name, clock or randomness")
	}
	o.defaults()
	d := &Device{o: o, url: u, over: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	l, err := d.connectAny(ctx)
	if err != nil {
		d.cancel()
		return nil, fmt.Errorf("open %s: %w", u, err)
	}
	d.o.Clock.Go("iscsi initiator", func() { d.run(l) })
	if err := d.probe(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", u, err), d.Close())
	}
	return d, nil
}

// Geometry is the shape of the unit.
func (d *Device) Geometry() blockdev.Geometry { return d.geo }

// URL is what the device was opened by, without the password.
func (d *Device) URL() string { return d.url.String() }

// Portal is where the session is now, empty if there is none.
func (d *Device) Portal() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link == nil {
		return ""
	}
	return d.link.portal
}

// connectAny tries the portals in turn.
func (d *Device) connectAny(ctx context.Context) (*link, error) {
	var errs []error
	for _, portal := range d.url.Portals {
		l, err := d.connect(ctx, portal)
		if err == nil {
			return l, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", portal, err))
		var refused *LoginError
		if errors.As(err, &refused) && !refused.Status.Retry() {
			break // the other portals are the same target
		}
	}
	return nil, errors.Join(errs...)
}

// run keeps a session until Close.
func (d *Device) run(l *link) {
	defer close(d.over)
	for {
		d.serve(l)
		for l = nil; l == nil; {
			if d.ctx.Err() != nil {
				d.fail(ErrClosed)
				return
			}
			if d.isDead() {
				return
			}
			var err error
			if l, err = d.reconnect(); err != nil {
				d.o.Log.Warn("cannot log in again", "url", d.url.String(), "error", err)
				_ = d.o.Clock.Sleep(d.ctx, retryPause)
			}
		}
	}
}

const retryPause = 200 * time.Millisecond

// serve lets operations go over l until it breaks, then takes back those that were not answered.
func (d *Device) serve(l *link) {
	d.mu.Lock()
	d.link = l
	d.mu.Unlock()
	l.run()
	d.mu.Lock()
	d.link = nil
	lost := l.takeBackLocked()
	var failed, again []*op
	now := d.o.Clock.Now()
	for _, p := range lost {
		switch {
		case p.answered:
			failed = append(failed, p) // it only waited for its last data to go out
			continue
		case d.ctx.Err() != nil:
			p.err = ErrClosed
		case now >= p.deadline:
			p.err = ErrTimeout
		case !p.repeatable:
			p.err = ErrUncertain
		}
		if p.err != nil {
			failed = append(failed, p)
			continue
		}
		p.got = 0
		again = append(again, p)
	}
	d.queue = append(again, d.queue...)
	d.mu.Unlock()
	if d.ctx.Err() == nil {
		d.o.Log.Warn("session lost", "url", d.url.String(), "portal", l.portal, "reason", l.why(), "unanswered", len(lost))
	}
	for _, p := range failed {
		p.finish()
	}
}

// reconnect logs in and makes sure that the unit is the one that it was.
func (d *Device) reconnect() (*link, error) {
	l, err := d.connectAny(d.ctx)
	if err != nil {
		return nil, err
	}
	if d.id == "" {
		return l, nil // not probed yet
	}
	l.probing = true
	return l, nil
}

// fail ends the device: what waits and what comes gets err.
func (d *Device) fail(err error) {
	d.mu.Lock()
	d.dead = err
	waiting := d.queue
	d.queue = nil
	d.mu.Unlock()
	for _, p := range waiting {
		p.err = err
		p.finish()
	}
}

func (d *Device) isDead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead != nil
}

// Close logs out. Operations that are not finished fail.
func (d *Device) Close() error {
	d.mu.Lock()
	l := d.link
	d.mu.Unlock()
	if l != nil {
		l.logout()
	}
	d.cancel()
	<-d.over
	return nil
}
