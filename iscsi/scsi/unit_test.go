package scsi_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

var ctx = context.Background()

const (
	sector = 512
	blocks = 4096
)

var (
	alice = scsi.Nexus{Initiator: "iqn.a,i,0x000000000001", Port: 1}
	bob   = scsi.Nexus{Initiator: "iqn.b,i,0x000000000002", Port: 1}
	carol = scsi.Nexus{Initiator: "iqn.c,i,0x000000000003", Port: 1}
)

// thin is a device in memory whose ranges can be zeroed.
type thin struct{ *memdev.Device }

func (d thin) Zero(ctx context.Context, off, length int64) error {
	return d.WriteAt(ctx, make([]byte, length), off, false)
}

// memKeeper keeps in memory, unless it is told to fail.
type memKeeper struct {
	data []byte
	err  error
}

func (k *memKeeper) Load() ([]byte, error) { return k.data, nil }
func (k *memKeeper) Save(p []byte) error {
	if k.err == nil {
		k.data = p
	}
	return k.err
}

func newUnit(t *testing.T, k scsi.Keeper) *scsi.Unit {
	t.Helper()
	dev := thin{memdev.New(blockdev.Geometry{SectorSize: sector, Size: blocks * sector}, nil)}
	o := scsi.Options{Serial: "S1", ID: 42, MaxTransfer: 1 << 20}
	if k != nil {
		o.Keeper = k
	}
	u, err := scsi.NewUnit(dev, o)
	require.NoError(t, err)
	return u
}

// cdb is a CDB in hexadecimal, with spaces.
func cdb(t *testing.T, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	require.NoError(t, err)
	return p
}

func do(t *testing.T, u *scsi.Unit, n scsi.Nexus, c string, out []byte) scsi.Result {
	t.Helper()
	return u.Execute(ctx, &scsi.Command{Nexus: n, CDB: cdb(t, c), Out: out, Expected: scsi.Unknown})
}

func good(t *testing.T, r scsi.Result) []byte {
	t.Helper()
	require.Equal(t, scsi.Good, r.Status, "sense %x", r.Sense)
	return r.In
}

func sense(t *testing.T, r scsi.Result, key scsi.Key, code scsi.Code) scsi.Sense {
	t.Helper()
	require.Equal(t, scsi.CheckCondition, r.Status)
	s, ok := scsi.ParseSense(r.Sense)
	require.True(t, ok)
	assert.Equal(t, [2]any{key, code}, [2]any{s.Key, s.Code}, "%04x", uint16(s.Code))
	return s
}

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n*sector) }

// TestReadWrite has each shape of CDB write and read back, by its clause.
func TestReadWrite(t *testing.T) {
	for _, c := range []struct{ clause, write, read string }{
		{"SBC-3 5.32", "0a 000010 02 00", "08 000010 02 00"},
		{"SBC-3 5.33", "2a 00 00000010 00 0002 00", "28 00 00000010 00 0002 00"},
		{"SBC-3 5.33 FUA DPO", "2a 18 00000010 00 0002 00", "28 18 00000010 00 0002 00"},
		{"SBC-3 5.34", "aa 00 00000010 00000002 00 00", "a8 00 00000010 00000002 00 00"},
		{"SBC-3 5.35", "8a 00 0000000000000010 00000002 00 00", "88 00 0000000000000010 00000002 00 00"},
		{"SBC-3 5.37", "2e 02 00000010 00 0002 00", "28 00 00000010 00 0002 00"},
		{"SBC-3 5.38", "ae 00 00000010 00000002 00 00", "a8 00 00000010 00000002 00 00"},
		{"SBC-3 5.39", "8e 02 0000000000000010 00000002 00 00", "88 00 0000000000000010 00000002 00 00"},
		{"SBC-3 5.7 or with zeros", "8b 00 0000000000000010 00000002 00 00", "88 00 0000000000000010 00000002 00 00"},
	} {
		u := newUnit(t, nil)
		assert.Equal(t, 2*sector, u.DataOut(cdb(t, c.write)), c.clause)
		good(t, do(t, u, alice, c.write, fill(7, 2)))
		assert.Equal(t, fill(7, 2), good(t, do(t, u, bob, c.read, nil)), c.clause)
		assert.Equal(t, fill(0, 1), good(t, do(t, u, bob, "28 00 00000012 00 0001 00", nil)), c.clause)
		good(t, do(t, u, alice, "35 00 00000000 00 0000 00", nil))
	}
}

// TestRefusals are commands that must not be done, each with the sense that its clause asks for.
func TestRefusals(t *testing.T) {
	u := newUnit(t, nil)
	for _, c := range []struct {
		clause, cdb string
		code        scsi.Code
	}{
		{"SPC-4 annex F", "ff 00 00 00 00 00", scsi.InvalidOpcode},
		{"SPC-4 4.2.5.1", "5e 1f 0000000000 00ff 00", scsi.InvalidFieldInCDB},
		{"SBC-3 5.11 last block", "28 00 00001000 00 0001 00", scsi.LBAOutOfRange},
		{"SBC-3 5.11 across the end", "28 00 00000fff 00 0002 00", scsi.LBAOutOfRange},
		{"SBC-3 5.11 nothing at the end", "28 00 00001000 00 0000 00", scsi.LBAOutOfRange},
		{"SBC-3 5.13 wraps", "88 00 ffffffffffffffff 00000002 00 00", scsi.LBAOutOfRange},
		{"SBC-3 5.13 too long", "88 00 0000000000000000 00000fff 00 00", scsi.InvalidFieldInCDB},
		{"SBC-3 5.11 RDPROTECT", "28 20 00000000 00 0001 00", scsi.InvalidFieldInCDB},
		{"SAM-5 5.2 NACA", "00 00 00 00 00 04", scsi.InvalidFieldInCDB},
		{"SBC-3 5.44 too long", "93 00 0000000000000000 00001001 00 00", scsi.LBAOutOfRange},
		{"SBC-3 5.44 WSNZ", "93 01 0000000000000000 00000000 00 00", scsi.InvalidFieldInCDB},
		{"SBC-3 5.44 ANCHOR", "93 11 0000000000000000 00000001 00 00", scsi.InvalidFieldInCDB},
		{"SBC-3 5.2 too long", "89 00 0000000000000000 000000 09 00 00", scsi.InvalidFieldInCDB},
		{"SBC-3 5.28 ANCHOR", "42 01 00000000 00 0000 00", scsi.InvalidFieldInCDB},
		{"SBC-3 5.29 BYTCHK 2", "2f 04 00000000 00 0001 00", scsi.InvalidFieldInCDB},
		{"SPC-4 6.4 page without EVPD", "12 00 80 00ff 00", scsi.InvalidFieldInCDB},
		{"SPC-4 6.4 unknown page", "12 01 55 00ff 00", scsi.InvalidFieldInCDB},
		{"SPC-4 6.11 saved values", "1a 00 ff 00 ff 00", scsi.SavingNotSupported},
		{"SPC-4 6.11 unknown page", "1a 00 19 00 ff 00", scsi.InvalidFieldInCDB},
	} {
		t.Run(c.clause, func(t *testing.T) {
			sense(t, do(t, u, alice, c.cdb, nil), scsi.IllegalRequest, c.code)
		})
	}
}

func TestVerify(t *testing.T) {
	u := newUnit(t, nil)
	good(t, do(t, u, alice, "2a 00 00000010 00 0002 00", fill(9, 2)))
	good(t, do(t, u, alice, "2f 00 00000010 00 0002 00", nil))
	good(t, do(t, u, alice, "2f 02 00000010 00 0002 00", fill(9, 2)))
	good(t, do(t, u, alice, "2f 06 00000010 00 0002 00", fill(9, 1)))
	bad := fill(9, 2)
	bad[700] = 1
	s := sense(t, do(t, u, alice, "2f 02 00000010 00 0002 00", bad), scsi.Miscompare, scsi.MiscompareVerify)
	assert.Equal(t, uint64(700), s.Info)
}

// TestCompareAndWrite is SBC-3 5.2, and that increments by many are not lost.
func TestCompareAndWrite(t *testing.T) {
	u := newUnit(t, nil)
	const caw = "89 00 0000000000000003 000000 01 00 00"
	assert.Equal(t, 2*sector, u.DataOut(cdb(t, caw)))
	good(t, do(t, u, alice, caw, append(fill(0, 1), fill(5, 1)...)))
	sense(t, do(t, u, alice, caw, append(fill(0, 1), fill(6, 1)...)), scsi.Miscompare, scsi.MiscompareVerify)
	assert.Equal(t, fill(5, 1), good(t, do(t, u, alice, "28 00 00000003 00 0001 00", nil)))
	sense(t, do(t, u, alice, caw, fill(5, 1)), scsi.IllegalRequest, scsi.InvalidFieldInCDB)

	const counter, each = "89 00 0000000000000009 000000 01 00 00", 50
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := 0; n < each; {
				now := u.Execute(ctx, &scsi.Command{Nexus: alice, CDB: []byte{0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0}}).In
				next := bytes.Clone(now)
				binary.BigEndian.PutUint64(next, binary.BigEndian.Uint64(now)+1)
				if do(t, u, alice, counter, append(now, next...)).Status == scsi.Good {
					n++
				}
			}
		})
		_ = w
	}
	wg.Wait()
	assert.Equal(t, uint64(4*each), binary.BigEndian.Uint64(good(t, do(t, u, alice, "28 00 00000009 00 0001 00", nil))))
}

func TestOrWrite(t *testing.T) {
	u := newUnit(t, nil)
	for _, b := range []byte{1, 2, 0x80} {
		good(t, do(t, u, alice, "8b 00 0000000000000001 00000001 00 00", fill(b, 1)))
	}
	assert.Equal(t, fill(0x83, 1), good(t, do(t, u, alice, "28 00 00000001 00 0001 00", nil)))
}

func TestWriteSameAndUnmap(t *testing.T) {
	u := newUnit(t, nil)
	good(t, do(t, u, alice, "41 00 00000000 00 0010 00", fill(3, 1)))
	assert.Equal(t, fill(3, 16), good(t, do(t, u, alice, "28 00 00000000 00 0010 00", nil)))
	good(t, do(t, u, alice, "93 09 0000000000000000 00000002 00 00", nil))
	good(t, do(t, u, alice, "93 08 0000000000000002 00000001 00 00", fill(0, 1)))
	assert.Equal(t, append(fill(0, 3), fill(3, 1)...), good(t, do(t, u, alice, "28 00 00000000 00 0004 00", nil)))
	unmap := func(lba uint64, n uint32) []byte {
		p := make([]byte, 24)
		binary.BigEndian.PutUint16(p, 22)
		binary.BigEndian.PutUint16(p[2:], 16)
		binary.BigEndian.PutUint64(p[8:], lba)
		binary.BigEndian.PutUint32(p[16:], n)
		return p
	}
	good(t, do(t, u, alice, "42 00 00000000 00 0018 00", unmap(4, 2)))
	assert.Equal(t, append(fill(0, 2), fill(3, 1)...), good(t, do(t, u, alice, "28 00 00000004 00 0003 00", nil)))
	sense(t, do(t, u, alice, "42 00 00000000 00 0018 00", unmap(blocks-1, 2)), scsi.IllegalRequest, scsi.LBAOutOfRange)
	sense(t, do(t, u, alice, "42 00 00000000 00 0004 00", unmap(1, 1)), scsi.IllegalRequest, scsi.ParamListLength)
	good(t, do(t, u, alice, "42 00 00000000 00 0000 00", nil))
}

// TestPagesTellTheTruth holds what the unit says of itself to what it does.
func TestPagesTellTheTruth(t *testing.T) {
	u := newUnit(t, nil)
	limits := good(t, do(t, u, alice, "12 01 b0 00ff 00", nil))
	assert.Equal(t, byte(8), limits[5], "COMPARE AND WRITE blocks")
	most := binary.BigEndian.Uint32(limits[8:])
	read := binary.BigEndian.AppendUint32(cdb(t, "88 00 0000000000000000"), most)
	good(t, u.Execute(ctx, &scsi.Command{Nexus: alice, CDB: append(read, 0, 0)}))
	assert.Equal(t, []byte{0, 0x80, 0x83, 0xb0, 0xb1, 0xb2}, good(t, do(t, u, alice, "12 01 00 00ff 00", nil))[4:])
	for _, page := range []string{"00", "80", "83", "b0", "b1", "b2"} {
		p := good(t, do(t, u, alice, "12 01 "+page+" 00ff 00", nil))
		assert.Equal(t, len(p)-4, int(binary.BigEndian.Uint16(p[2:])), page)
	}
	rc := good(t, do(t, u, alice, "9e 10 0000000000000000 00000020 00 00", nil))
	assert.Equal(t, uint64(blocks-1), binary.BigEndian.Uint64(rc))
	assert.Equal(t, byte(0xc3), rc[13]|rc[14])
	assert.Len(t, good(t, do(t, u, alice, "12 00 00 0024 00", nil)), 36, "allocation length")

	thick, err := scsi.NewUnit(memdev.New(blockdev.Geometry{SectorSize: 4096, Size: 1 << 20}, nil), scsi.Options{})
	require.NoError(t, err)
	assert.Zero(t, good(t, do(t, thick, alice, "9e 10 0000000000000000 00000020 00 00", nil))[14])
	assert.Zero(t, good(t, do(t, thick, alice, "12 01 b2 00ff 00", nil))[5])
	sense(t, do(t, thick, alice, "42 00 00000000 00 0000 00", nil), scsi.IllegalRequest, scsi.InvalidOpcode)
	sense(t, do(t, thick, alice, "41 08 00000000 00 0001 00", make([]byte, 4096)), scsi.IllegalRequest, scsi.InvalidFieldInCDB)
}

func TestModeAndLBAStatus(t *testing.T) {
	u := newUnit(t, nil)
	for _, c := range []string{"1a 00 3f 00 ff 00", "1a 08 3f ff ff 00", "1a 00 08 00 ff 00"} {
		p := good(t, do(t, u, alice, c, nil))
		assert.Equal(t, len(p)-1, int(p[0]))
	}
	for _, c := range []string{"5a 00 3f 00 000000 00ff 00", "5a 10 0a 00 000000 00ff 00"} {
		p := good(t, do(t, u, alice, c, nil))
		assert.Equal(t, len(p)-2, int(binary.BigEndian.Uint16(p)))
	}
	p := good(t, do(t, u, alice, "9e 12 0000000000000005 00000100 00 00", nil))
	assert.Equal(t, uint32(blocks-5), binary.BigEndian.Uint32(p[16:]))
}

func TestUnitAttention(t *testing.T) {
	u := newUnit(t, nil)
	u.Attach(alice, false)
	good(t, do(t, u, alice, "12 00 00 0024 00", nil))
	sense(t, do(t, u, alice, "00 00 00 00 00 00", nil), scsi.UnitAttention, scsi.PowerOnReset)
	good(t, do(t, u, alice, "00 00 00 00 00 00", nil))
	u.Attach(alice, true)
	p := good(t, do(t, u, alice, "03 00 00 00 ff 00", nil))
	s, _ := scsi.ParseSense(p)
	assert.Equal(t, scsi.NexusLoss, s.Code)
	good(t, do(t, u, alice, "16 00 00 00 00 00", nil))
	assert.Equal(t, scsi.ReservationConflict, do(t, u, bob, "00 00 00 00 00 00", nil).Status)
	u.Reset()
	good(t, do(t, u, bob, "00 00 00 00 00 00", nil))
	sense(t, do(t, u, alice, "ff 00 00 00 00 00", nil), scsi.UnitAttention, scsi.BusDeviceReset)
}

func TestServer(t *testing.T) {
	u := newUnit(t, nil)
	s, err := scsi.NewServer(map[int]*scsi.Unit{0: u, 300: newUnit(t, nil)})
	require.NoError(t, err)
	run := func(lun int, c string) scsi.Result {
		return s.Execute(ctx, lun, &scsi.Command{Nexus: alice, CDB: cdb(t, c)})
	}
	for _, lun := range []int{0, 5} {
		assert.Equal(t, cdb(t, "00000010 00000000 0000000000000000 412c000000000000"), good(t, run(lun, "a0 00 00 000000 00000100 00 00")))
	}
	assert.Equal(t, byte(0x7f), good(t, run(5, "12 00 00 0024 00"))[0])
	sense(t, run(5, "00 00 00 00 00 00"), scsi.IllegalRequest, scsi.LUNotSupported)
	sense(t, run(-1, "28 00 00000000 00 0001 00"), scsi.IllegalRequest, scsi.LUNotSupported)
	_, err = scsi.NewServer(map[int]*scsi.Unit{1 << 14: u})
	assert.Error(t, err)
}

// FuzzExecute: no CDB and no data may harm the unit.
func FuzzExecute(f *testing.F) {
	for op := range 256 {
		f.Add(append([]byte{byte(op)}, make([]byte, 15)...), fill(1, 2))
	}
	dev := thin{memdev.New(blockdev.Geometry{SectorSize: sector, Size: 64 * sector}, nil)}
	u, err := scsi.NewUnit(dev, scsi.Options{Keeper: &memKeeper{}, MaxTransfer: 16 * sector})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, c, out []byte) {
		_ = u.DataOut(c)
		for _, n := range []scsi.Nexus{alice, bob} {
			r := u.Execute(ctx, &scsi.Command{Nexus: n, CDB: c, Out: out, Expected: scsi.Unknown})
			if r.Status == scsi.CheckCondition {
				_, ok := scsi.ParseSense(r.Sense)
				require.True(t, ok)
			}
		}
	})
}
