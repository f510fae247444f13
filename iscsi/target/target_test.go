package target_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/covol/covol/iscsi/pdu"
	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/iscsi/target"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const iqn = "iqn.2026-11.org.covol:test"

// serve starts a target of one unit and returns where it is.
func serve(t *testing.T, dev blockdev.Device, change func(*target.Options)) (string, *target.Target) {
	t.Helper()
	u, err := scsi.NewUnit(dev, scsi.Options{})
	require.NoError(t, err)
	s, err := scsi.NewServer(map[int]*scsi.Unit{0: u})
	require.NoError(t, err)
	o := target.Options{Name: iqn, Server: s, Clock: sched.Real{}, Random: rand.Reader}
	if change != nil {
		change(&o)
	}
	tgt, err := target.New(o)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- tgt.Serve(ln) }()
	t.Cleanup(func() {
		assert.NoError(t, tgt.Close())
		assert.NoError(t, <-done)
	})
	return ln.Addr().String(), tgt
}

func mem() blockdev.Device {
	return memdev.New(blockdev.Geometry{SectorSize: 512, Size: 1 << 20}, nil)
}

// peer speaks the wire format by hand.
type peer struct {
	t     *testing.T
	nc    net.Conn
	r     *pdu.Reader
	w     *pdu.Writer
	cmdSN uint32
}

func dial(t *testing.T, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	return &peer{t: t, nc: nc, r: pdu.NewReader(nc, 1<<20), w: pdu.NewWriter(nc), cmdSN: 1}
}

func (p *peer) send(u *pdu.PDU) {
	p.t.Helper()
	require.NoError(p.t, p.w.Write(u))
	require.NoError(p.t, p.w.Flush())
}

func (p *peer) receive() (*pdu.Header, []byte) {
	p.t.Helper()
	h, _, err := p.r.Header()
	require.NoError(p.t, err)
	data, err := p.r.All()
	require.NoError(p.t, err)
	return h, data
}

func (p *peer) closed() {
	p.t.Helper()
	_, err := io.Copy(io.Discard, p.nc)
	var failed net.Error
	require.False(p.t, errors.As(err, &failed) && failed.Timeout(), "the target keeps the connection")
}

func loginPDU(isid uint64, extra ...pdu.Pair) *pdu.PDU {
	u := &pdu.PDU{Header: pdu.New(pdu.OpLogin, pdu.LoginFlags(true, pdu.StageOperational, pdu.StageFull))}
	u.SetImmediate()
	u.Set(pdu.ISID, 0x800000000000|isid)
	u.Set(pdu.CmdSN, 1)
	u.Data = pdu.AppendText(nil, append([]pdu.Pair{{Key: "InitiatorName", Value: "iqn.peer"}, {Key: "TargetName", Value: iqn}}, extra...)...)
	return u
}

func (p *peer) login(isid uint64, extra ...pdu.Pair) *pdu.Header {
	p.t.Helper()
	p.send(loginPDU(isid, extra...))
	h, _ := p.receive()
	require.Zero(p.t, h.Get(pdu.StatusClass))
	require.Equal(p.t, pdu.StageFull, h.NSG())
	return h
}

func (p *peer) command(tag uint32, flags byte, edtl uint32, cdb []byte, data []byte) *pdu.PDU {
	u := &pdu.PDU{Header: pdu.New(pdu.OpCommand, pdu.Final|flags), Data: data}
	u.Set32(pdu.ITT, tag)
	u.Set32(pdu.EDTL, edtl)
	u.Set32(pdu.CmdSN, p.cmdSN)
	copy(u.CDB(), cdb)
	p.cmdSN++
	return u
}

// ready clears the unit attention of a new session.
func (p *peer) ready() {
	p.t.Helper()
	p.send(p.command(0xfff, 0, 0, []byte{0}, nil))
	h, _ := p.receive()
	for h.Op() == pdu.OpNopIn { // on a slow machine
		h, _ = p.receive()
	}
	require.Equal(p.t, pdu.OpResponse, h.Op())
}

func TestDiscovery(t *testing.T) {
	addr, _ := serve(t, mem(), nil)
	p := dial(t, addr)
	u := loginPDU(1)
	u.Data = pdu.AppendText(nil, pdu.Pair{Key: "InitiatorName", Value: "iqn.peer"}, pdu.Pair{Key: "SessionType", Value: "Discovery"})
	p.send(u)
	p.receive()
	q := &pdu.PDU{Header: pdu.New(pdu.OpText, pdu.Final), Data: pdu.AppendText(nil, pdu.Pair{Key: "SendTargets", Value: "All"})}
	q.Set32(pdu.ITT, 5)
	q.Set32(pdu.TTT, pdu.NoTag)
	q.Set32(pdu.CmdSN, 1)
	p.send(q)
	_, data := p.receive()
	pairs, err := pdu.ParseText(data)
	require.NoError(t, err)
	assert.Equal(t, []pdu.Pair{{Key: "TargetName", Value: iqn}, {Key: "TargetAddress", Value: addr + ",1"}}, pairs)
	p.cmdSN = 2
	p.send(p.command(6, 0, 0, []byte{0}, nil))
	h, _ := p.receive()
	assert.Equal(t, pdu.OpReject, h.Op(), "no SCSI in discovery")
}

// TestNumbers follows StatSN, ExpCmdSN and MaxCmdSN over pings of both kinds, commands and a logout.
func TestNumbers(t *testing.T) {
	addr, _ := serve(t, mem(), func(o *target.Options) { o.QueueDepth = 4 })
	p := dial(t, addr)
	h := p.login(1)
	stat := h.U32(pdu.StatSN)
	for i := range uint32(6) {
		nop := &pdu.PDU{Header: pdu.New(pdu.OpNopOut, pdu.Final), Data: []byte("ping")}
		nop.Set32(pdu.ITT, i)
		nop.Set32(pdu.TTT, pdu.NoTag)
		nop.Set32(pdu.CmdSN, p.cmdSN)
		if i%2 == 0 {
			nop.SetImmediate()
		} else {
			p.cmdSN++
		}
		p.send(nop)
		h, data := p.receive()
		stat++
		assert.Equal(t, pdu.OpNopIn, h.Op())
		assert.Equal(t, "ping", string(data))
		assert.Equal(t, stat, h.U32(pdu.StatSN))
		assert.Equal(t, p.cmdSN, h.U32(pdu.ExpCmdSN))
		assert.LessOrEqual(t, h.U32(pdu.MaxCmdSN), p.cmdSN+3)
	}
	far := p.command(9, 0, 0, []byte{0}, nil)
	far.Set32(pdu.CmdSN, p.cmdSN+100) // outside the window: ignored
	p.send(far)
	p.cmdSN--
	out := &pdu.PDU{Header: pdu.New(pdu.OpLogout, pdu.Final)}
	out.Set32(pdu.ITT, 10)
	out.Set32(pdu.CmdSN, p.cmdSN)
	p.send(out)
	h, _ = p.receive()
	assert.Equal(t, pdu.OpLogoutReply, h.Op())
	p.closed()
}

// TestDataIn: pieces no longer than the initiator takes, F at bursts, one status at the end, residual counted.
func TestDataIn(t *testing.T) {
	addr, _ := serve(t, mem(), nil)
	p := dial(t, addr)
	p.login(1, pdu.Pair{Key: "MaxRecvDataSegmentLength", Value: "512"}, pdu.Pair{Key: "MaxBurstLength", Value: "1024"})
	p.ready()
	p.send(p.command(1, pdu.CommandRead, 3000, []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 5, 0}, nil))
	for i := range uint32(5) {
		h, data := p.receive()
		require.Equal(t, pdu.OpDataIn, h.Op())
		assert.Len(t, data, 512)
		assert.Equal(t, [2]uint32{i, 512 * i}, [2]uint32{h.U32(pdu.DataSN), h.U32(pdu.BufferOffset)})
		assert.Equal(t, i%2 == 1 || i == 4, h.Has(pdu.Final))
		assert.Equal(t, i == 4, h.Has(pdu.HasStatus))
		if i == 4 {
			assert.True(t, h.Has(pdu.Underflow))
			assert.Equal(t, uint32(440), h.U32(pdu.Residual))
		}
	}
}

// TestReinstatement: the same initiator port logs in again, and the old session is over.
func TestReinstatement(t *testing.T) {
	addr, tgt := serve(t, mem(), nil)
	old := dial(t, addr)
	old.login(1)
	p := dial(t, addr)
	p.login(1)
	old.closed()
	assert.Len(t, tgt.Status(), 1)
	dial(t, addr).login(2)
	assert.Len(t, tgt.Status(), 2)
}

// slow is a device whose writes wait.
type slow struct {
	blockdev.Device
	begun, gate chan struct{}
}

func (d *slow) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	d.begun <- struct{}{}
	<-d.gate
	return d.Device.WriteAt(ctx, p, off, fua)
}

// TestAbort: a task that runs is waited for and not answered, one that waits for its data ends at once.
func TestAbort(t *testing.T) {
	for name, function := range map[string]byte{"task": pdu.AbortTask, "task set": pdu.AbortTaskSet, "clear": pdu.ClearTaskSet, "unit reset": pdu.LogicalUnitRst, "target reset": pdu.TargetWarmReset} {
		t.Run(name, func(t *testing.T) {
			dev := &slow{mem(), make(chan struct{}), make(chan struct{})}
			addr, _ := serve(t, dev, nil)
			p := dial(t, addr)
			p.login(1)
			p.ready()
			p.send(p.command(1, pdu.CommandWrite, 512, []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, make([]byte, 512)))
			<-dev.begun
			if function != pdu.AbortTask {
				p.send(p.command(2, pdu.CommandWrite, 512, []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, nil))
				h, _ := p.receive()
				assert.Equal(t, pdu.OpR2T, h.Op())
			}
			tmf := &pdu.PDU{Header: pdu.New(pdu.OpTaskRequest, pdu.Final|function)}
			tmf.SetImmediate()
			tmf.Set32(pdu.ITT, 3)
			tmf.Set32(pdu.RefTaskTag, 1)
			p.send(tmf)
			require.NoError(t, p.nc.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
			_, _, err := p.r.Header()
			var timeout net.Error
			require.ErrorAs(t, err, &timeout, "answered while the task runs")
			require.NoError(t, p.nc.SetReadDeadline(time.Now().Add(20*time.Second)))
			close(dev.gate)
			h, _ := p.receive()
			assert.Equal(t, [2]any{pdu.OpTaskReply, uint64(pdu.TaskComplete)}, [2]any{h.Op(), h.Get(pdu.Response)})
			p.send(p.command(4, 0, 0, []byte{0x12, 0, 0, 0, 0, 0}, nil))
			h, _ = p.receive()
			assert.Equal(t, uint32(4), h.U32(pdu.ITT), "nothing else of the aborted tasks")
		})
	}
}

// TestHostile: whatever a stranger sends, others are served.
func TestHostile(t *testing.T) {
	addr, _ := serve(t, mem(), func(o *target.Options) {
		o.LoginTime, o.StallTime, o.PingTime = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
		o.MaxConnections, o.Memory = 64, 1<<20
	})
	var isids atomic.Uint64
	isids.Store(100)
	long := pdu.New(pdu.OpLogin, 0x87)
	long.Set(pdu.DataLength, 1<<24-1)
	version := loginPDU(9)
	version.Set(pdu.VersionMin, 5)
	twice := loginPDU(9, pdu.Pair{Key: "TargetName", Value: iqn})
	stage := loginPDU(9)
	stage.Header[1] = pdu.LoginFlags(true, pdu.StageFull, pdu.StageFull)
	loggedIn := func(after func(p *peer)) func(*peer) {
		isid := isids.Add(1)
		return func(p *peer) { p.login(isid); p.ready(); after(p) }
	}
	for name, attack := range map[string]func(p *peer){
		"silence":       func(*peer) {},
		"garbage":       func(p *peer) { _, _ = p.nc.Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 10)) },
		"zeros":         func(p *peer) { _, _ = p.nc.Write(make([]byte, 4800)) },
		"long segment":  func(p *peer) { _, _ = p.nc.Write(long[:]) },
		"bad version":   func(p *peer) { p.send(version) },
		"key twice":     func(p *peer) { p.send(twice) },
		"wrong stage":   func(p *peer) { p.send(stage) },
		"command first": func(p *peer) { p.send(p.command(1, 0, 0, []byte{0}, nil)) },
		"endless login": func(p *peer) {
			u := loginPDU(9)
			u.Header[1] = pdu.Continue | byte(pdu.StageOperational)<<2
			u.Data = bytes.Repeat([]byte("x"), 8000)
			for range 100 {
				if p.w.Write(u) != nil || p.w.Flush() != nil {
					return
				}
			}
		},
		"endless text": loggedIn(func(p *peer) {
			u := &pdu.PDU{Header: pdu.New(pdu.OpText, pdu.Continue), Data: bytes.Repeat([]byte("x"), 8000)}
			u.SetImmediate()
			for range 100 {
				if p.w.Write(u) != nil || p.w.Flush() != nil {
					return
				}
			}
		}),
		"data unasked": loggedIn(func(p *peer) {
			u := &pdu.PDU{Header: pdu.New(pdu.OpDataOut, pdu.Final), Data: make([]byte, 512)}
			u.Set32(pdu.TTT, pdu.NoTag)
			p.send(u)
		}),
		"data beyond": loggedIn(func(p *peer) {
			p.send(p.command(1, pdu.CommandWrite, 512, []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, nil))
			h, _ := p.receive()
			u := &pdu.PDU{Header: pdu.New(pdu.OpDataOut, pdu.Final), Data: make([]byte, 1024)}
			u.Set32(pdu.ITT, 1)
			u.Set32(pdu.TTT, h.U32(pdu.TTT))
			p.send(u)
		}),
		"data never": loggedIn(func(p *peer) {
			for tag := range uint32(20) {
				p.send(p.command(tag, pdu.CommandWrite, 512<<10, []byte{0x2a, 0, 0, 0, 0, 0, 0, 4, 0, 0}, nil))
			}
		}),
		"too much immediate": loggedIn(func(p *peer) {
			p.send(p.command(1, pdu.CommandWrite, 1<<20, []byte{0x2a, 0, 0, 0, 0, 0, 0, 8, 0, 0}, make([]byte, 100<<10)))
		}),
		"tag in use": loggedIn(func(p *peer) {
			for range 2 {
				p.send(p.command(1, pdu.CommandWrite, 512, []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, nil))
			}
		}),
		"gap in numbers": loggedIn(func(p *peer) { p.cmdSN += 3; p.send(p.command(1, 0, 0, []byte{0}, nil)) }),
		"reads nothing": loggedIn(func(p *peer) {
			for tag := range uint32(100) {
				if p.w.Write(p.command(tag, pdu.CommandRead, 1<<20, []byte{0x28, 0, 0, 0, 0, 0, 0, 8, 0, 0}, nil)) != nil || p.w.Flush() != nil {
					return
				}
			}
			time.Sleep(time.Second)
		}),
		"never answers pings": loggedIn(func(*peer) {}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := dial(t, addr)
			attack(p)
			p.closed()
		})
	}
	t.Cleanup(func() {
		// Connections beyond the limit are closed, those that hold places without logging in lose them.
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if nc, err := net.Dial("tcp", addr); err == nil {
					_, _ = io.Copy(io.Discard, nc)
					_ = nc.Close()
				}
			})
		}
		wg.Wait()
		p := dial(t, addr)
		p.login(1)
		p.ready()
		p.send(p.command(1, pdu.CommandRead, 512, []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, nil))
		h, _ := p.receive()
		assert.Equal(t, pdu.OpDataIn, h.Op())
		_ = p.nc.Close()
	})
}

func TestOptions(t *testing.T) {
	_, err := target.New(target.Options{})
	assert.Error(t, err)
}

// FuzzStream: no bytes after a login harm the target.
func FuzzStream(f *testing.F) {
	var seed bytes.Buffer
	w := pdu.NewWriter(&seed)
	p := &peer{cmdSN: 1}
	_ = w.Write(p.command(1, pdu.CommandRead, 512, []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, nil))
	_ = w.Write(p.command(2, pdu.CommandWrite, 512, []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, nil))
	_ = w.Flush()
	f.Add(seed.Bytes())
	u, err := scsi.NewUnit(mem(), scsi.Options{})
	require.NoError(f, err)
	s, err := scsi.NewServer(map[int]*scsi.Unit{0: u})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, stream []byte) {
		tgt, err := target.New(target.Options{Name: iqn, Server: s, Clock: sched.Real{}, Random: rand.Reader})
		require.NoError(t, err)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- tgt.Serve(ln) }()
		p := dial(t, ln.Addr().String())
		p.login(1)
		_, _ = p.nc.Write(stream)
		_ = p.nc.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, p.nc)
		require.NoError(t, tgt.Close())
		require.NoError(t, <-done)
	})
}
