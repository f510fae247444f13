package pdu_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/covol/covol/iscsi/pdu"
)

// TestLayouts: no row of the table has two fields on one byte, and reading gives back what was set.
func TestLayouts(t *testing.T) {
	for op, l := range pdu.Layouts {
		used := map[int]string{0: "opcode", 4: "lengths", 5: "lengths", 6: "lengths", 7: "lengths"}
		h := pdu.New(op, l.Flags)
		for i, f := range l.Fields {
			for b := f.Off; b < f.Off+f.Len; b++ {
				assert.Empty(t, used[b], "%s: %s and %s share byte %d", l.Name, used[b], f.Name, b)
				used[b] = f.Name
			}
			h.Set(f, uint64(i+1)*0x0101010101010101)
		}
		for i, f := range l.Fields {
			want := uint64(i+1) * 0x0101010101010101
			if f.Len < 8 {
				want &= 1<<(8*f.Len) - 1
			}
			assert.Equal(t, want, h.Get(f), "%s %s", l.Name, f.Name)
		}
		assert.Equal(t, op, h.Op())
		assert.Contains(t, h.String(), l.Name)
	}
}

// TestGolden holds the codec to headers written by hand from the figures of RFC 7143.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		section, hex string
		make         func() pdu.Header
	}{
		{"11.3", "41c100000000000000050000000000000000000700000200000000080000000928000000000100000800000000000000", func() pdu.Header {
			h := pdu.New(pdu.OpCommand, pdu.Final|pdu.CommandRead|1)
			h.SetImmediate()
			h.Set(pdu.LUN, pdu.EncodeLUN(5))
			h.Set(pdu.ITT, 7)
			h.Set(pdu.EDTL, 512)
			h.Set(pdu.CmdSN, 8)
			h.Set(pdu.ExpStatSN, 9)
			copy(h.CDB(), []byte{0x28, 0, 0, 0, 0, 1, 0, 0, 8})
			return h
		}},
		{"11.8", "318000000000000040000000000000000000000100000002000000030000000400000005000000060000000700000008", func() pdu.Header {
			h := pdu.New(pdu.OpR2T, pdu.Final)
			h.Set(pdu.LUN, 0x4000<<48)
			for i, f := range []pdu.Field{pdu.ITT, pdu.TTT, pdu.StatSN, pdu.ExpCmdSN, pdu.MaxCmdSN, pdu.R2TSN, pdu.BufferOffset, pdu.DesiredLength} {
				h.Set(f, uint64(i+1))
			}
			return h
		}},
		{"11.13", "2387000000000000" + "800000000001" + "0002" + "00000003" + "00000000" + "00000004" + "00000005" + "00000006" + "0201" + strings.Repeat("00", 10), func() pdu.Header {
			h := pdu.New(pdu.OpLoginReply, pdu.LoginFlags(true, pdu.StageOperational, pdu.StageFull))
			h.Set(pdu.ISID, 0x800000000001)
			h.Set(pdu.TSIH, 2)
			h.Set(pdu.ITT, 3)
			h.Set(pdu.StatSN, 4)
			h.Set(pdu.ExpCmdSN, 5)
			h.Set(pdu.MaxCmdSN, 6)
			h.Set(pdu.StatusClass, 2)
			h.Set(pdu.StatusDetail, 1)
			return h
		}},
	} {
		h := c.make()
		assert.Equal(t, c.hex, hex.EncodeToString(h[:]), "RFC 7143 %s", c.section)
	}
}

// TestDigestExamples are the CRC examples of RFC 3720 B.4, as bytes on the wire.
func TestDigestExamples(t *testing.T) {
	up, down := make([]byte, 32), make([]byte, 32)
	for i := range up {
		up[i], down[i] = byte(i), byte(31-i)
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{make([]byte, 32), "aa36918a"}, {bytes.Repeat([]byte{0xff}, 32), "43aba862"}, {up, "4e79dd46"}, {down, "5cdb3f11"},
	} {
		var out bytes.Buffer
		w := pdu.NewWriter(&out)
		w.DataDigest = true
		require.NoError(t, w.Write(&pdu.PDU{Header: pdu.New(pdu.OpDataIn, 0), Data: c.data}))
		require.NoError(t, w.Flush())
		assert.Equal(t, c.want, hex.EncodeToString(out.Bytes()[pdu.HeaderLen+32:]))
	}
}

// TestStream sends PDUs of all lengths through all digests, and damages each byte of one.
func TestStream(t *testing.T) {
	for _, digests := range []struct{ header, data bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		var out bytes.Buffer
		w := pdu.NewWriter(&out)
		w.HeaderDigest, w.DataDigest = digests.header, digests.data
		for n := range 10 {
			p := &pdu.PDU{Header: pdu.New(pdu.OpCommand, 0), Data: bytes.Repeat([]byte{byte(n)}, n)}
			if n%2 == 1 {
				p.AHS = pdu.AHS{Type: pdu.AHSExtendedCDB, Data: make([]byte, n)}.Bytes()
			}
			require.NoError(t, w.Write(p))
		}
		require.NoError(t, w.Flush())
		stream := out.Bytes()
		require.NoError(t, readAll(stream, digests.header, digests.data))
		if !digests.header || !digests.data {
			continue
		}
		for i := range stream {
			bad := bytes.Clone(stream)
			bad[i] ^= 0x10
			assert.Error(t, readAll(bad, true, true), "damage at byte %d was not seen", i)
		}
	}
}

func readAll(stream []byte, headerDigest, dataDigest bool) error {
	r := pdu.NewReader(bytes.NewReader(stream), 16)
	r.HeaderDigest, r.DataDigest = headerDigest, dataDigest
	for n := 0; ; n++ {
		h, ahs, err := r.Header()
		if errors.Is(err, io.EOF) && n == 10 {
			return nil
		} else if err != nil {
			return err
		}
		data, err := r.All()
		if err != nil {
			return err
		}
		if len(data) != n || h.Op() != pdu.OpCommand || (len(ahs) > 0) != (n%2 == 1) {
			return errors.New("wrong content")
		}
	}
}

func TestReaderBounds(t *testing.T) {
	long := pdu.New(pdu.OpDataOut, 0)
	long.Set(pdu.DataLength, 1<<24-1)
	ahs := pdu.New(pdu.OpCommand, 0)
	ahs.Set(pdu.AHSLength, 255)
	odd := pdu.New(pdu.OpDataOut, 0)
	odd.Set(pdu.DataLength, 4)
	noData := pdu.New(pdu.OpLogout, 0)
	noData.Set(pdu.DataLength, 4)
	for _, c := range []struct {
		h    pdu.Header
		want error
	}{{long, pdu.ErrTooLong}, {ahs, pdu.ErrTooLong}, {odd, io.ErrUnexpectedEOF}, {noData, pdu.ErrMalformed}} {
		r := pdu.NewReader(bytes.NewReader(c.h[:]), 8192)
		_, _, err := r.Header()
		if err == nil {
			_, err = r.All()
		}
		assert.ErrorIs(t, err, c.want)
	}
}

func TestAHS(t *testing.T) {
	h := pdu.New(pdu.OpCommand, 0)
	h.CDB()[0] = 0x7f
	ext := pdu.AHS{Type: pdu.AHSExtendedCDB, Data: []byte{1, 2, 3, 4, 5}}
	both := append(pdu.AHS{Type: pdu.AHSBidiLength, Data: make([]byte, 4)}.Bytes(), ext.Bytes()...)
	cdb, err := pdu.FullCDB(&h, both)
	require.NoError(t, err)
	assert.Equal(t, ext.Data, cdb[16:])
	for _, bad := range [][]byte{{0, 9, 1, 0}, {0, 0, 1, 0}, {0}, {0xff, 0xff, 1, 0, 1, 2, 3, 4}} {
		_, err := pdu.FullCDB(&h, bad)
		assert.ErrorIs(t, err, pdu.ErrMalformed)
	}
}

func TestText(t *testing.T) {
	pairs := []pdu.Pair{{"InitiatorName", "iqn.x"}, {"X-a.b", ""}, {"TargetAddress", "1.2.3.4:5,1"}}
	got, err := pdu.ParseText(append(pdu.AppendText(nil, pairs...), 0, 0))
	require.NoError(t, err)
	assert.Equal(t, pairs, got)
	for _, bad := range []string{"a=b", "noequals\x00", "=v\x00", strings.Repeat("k", 64) + "=v\x00", "a b=c\x00", "k=" + strings.Repeat("v", 9000) + "\x00",
		strings.Repeat("a=b\x00", 300), strings.Repeat("\x00", pdu.MaxText+1)} {
		_, err := pdu.ParseText([]byte(bad))
		assert.Error(t, err, "%.40q", bad)
	}
}

func TestBinary(t *testing.T) {
	for s, want := range map[string]string{"0x0aFF": "0aff", "0bCv8=": "0aff", "0X": "", "0B": ""} {
		p, err := pdu.ParseBinary(s, 4)
		require.NoError(t, err, s)
		assert.Equal(t, want, hex.EncodeToString(p))
	}
	for _, s := range []string{"", "12", "0x1", "0xzz", "0b!", "0x0102030405", "0x" + strings.Repeat("00", 1000)} {
		_, err := pdu.ParseBinary(s, 4)
		assert.Error(t, err, s)
	}
}

// TestKeys: the rule of each key, by its clause of RFC 7143 section 13.
func TestKeys(t *testing.T) {
	for _, c := range []struct{ key, offer, ours, want string }{
		{"HeaderDigest", "None,CRC32C", "CRC32C,None", "None"},       // 13.1, the order of who offers
		{"HeaderDigest", "Foo,CRC32C", "CRC32C,None", "CRC32C"},      // 13.1
		{"DataDigest", "Foo", "None", pdu.Reject},                    // 6.2.1
		{"MaxConnections", "8", "1", "1"},                            // 13.2
		{"InitialR2T", "No", "No", "No"},                             // 13.10
		{"InitialR2T", "No", "Yes", "Yes"},                           // 13.10
		{"ImmediateData", "Yes", "No", "No"},                         // 13.11
		{"ImmediateData", "Yes", "Yes", "Yes"},                       // 13.11
		{"MaxBurstLength", "0x100000", "262144", "262144"},           // 13.13
		{"FirstBurstLength", "512", "65536", "512"},                  // 13.14
		{"DefaultTime2Wait", "0", "2", "2"},                          // 13.15
		{"DefaultTime2Retain", "0", "20", "0"},                       // 13.16
		{"MaxOutstandingR2T", "16", "4", "4"},                        // 13.17
		{"DataPDUInOrder", "No", "Yes", "Yes"},                       // 13.18
		{"ErrorRecoveryLevel", "2", "0", "0"},                        // 13.20
		{"MaxRecvDataSegmentLength", "16777215", "512", "16777215"},  // 13.12, each for itself
		{"SessionType", "Discovery", "Normal", "Discovery"},          // 13.21
		{"TaskReporting", "FastAbort,RFC3720", "RFC3720", "RFC3720"}, // 13.23
	} {
		got, err := pdu.FindKey(c.key).Agree(c.offer, c.ours)
		require.NoError(t, err, c.key)
		assert.Equal(t, c.want, got, "%+v", c)
	}
	for key, bad := range map[string]string{
		"MaxBurstLength": "511", "FirstBurstLength": "16777216", "InitialR2T": "yes", "ErrorRecoveryLevel": "3", "MaxConnections": "0",
		"DefaultTime2Wait": "-1", "MaxOutstandingR2T": "1x", "MaxRecvDataSegmentLength": "99999999999999999999",
	} {
		k := pdu.FindKey(key)
		_, err := k.Agree(bad, k.Default)
		assert.ErrorIs(t, err, pdu.ErrMalformed, key)
	}
}

// TestBothSidesAgree: whatever two sides want, each computes the same outcome.
func TestBothSidesAgree(t *testing.T) {
	yes := rapid.SampledFrom([]string{"Yes", "No"})
	rapid.Check(t, func(t *rapid.T) {
		draw := func() pdu.Values {
			return pdu.Values{
				"InitialR2T": yes.Draw(t, "r2t"), "ImmediateData": yes.Draw(t, "immediate"),
				"MaxBurstLength":   rapid.SampledFrom([]string{"512", "65536", "0x40000"}).Draw(t, "burst"),
				"HeaderDigest":     rapid.SampledFrom([]string{"None", "CRC32C", "None,CRC32C", "CRC32C,None"}).Draw(t, "digest"),
				"DefaultTime2Wait": rapid.SampledFrom([]string{"0", "5"}).Draw(t, "wait"),
			}
		}
		offers, ours := draw(), draw()
		a := pdu.NewAnswerer(ours)
		agreed := pdu.Defaults()
		for key, v := range offers {
			answer, err := a.Offer(pdu.Pair{Key: key, Value: v})
			require.NoError(t, err)
			require.NotNil(t, answer)
			require.NoError(t, pdu.Answered(agreed, pdu.Values{}, offers, *answer))
		}
		require.Equal(t, a.Agreed, agreed)
	})
}

func TestAnswerer(t *testing.T) {
	a := pdu.NewAnswerer(pdu.Values{})
	answer, err := a.Offer(pdu.Pair{Key: "X-com.example", Value: "1"})
	require.NoError(t, err)
	assert.Equal(t, pdu.NotUnderstood, answer.Value)
	answer, err = a.Offer(pdu.Pair{Key: "InitiatorName", Value: "iqn.a"})
	require.NoError(t, err)
	assert.Nil(t, answer)
	assert.Equal(t, "iqn.a", a.Peer["InitiatorName"])
	_, err = a.Offer(pdu.Pair{Key: "InitiatorName", Value: "iqn.b"})
	assert.ErrorIs(t, err, pdu.ErrMalformed)
	agreed := pdu.Defaults()
	assert.Error(t, pdu.Answered(agreed, pdu.Values{}, pdu.Values{"MaxBurstLength": "1024"}, pdu.Pair{Key: "MaxBurstLength", Value: "2048"}))
	assert.NoError(t, pdu.Answered(agreed, pdu.Values{}, pdu.Values{"MaxBurstLength": "1024"}, pdu.Pair{Key: "MaxBurstLength", Value: pdu.Reject}))
	assert.Equal(t, 262144, agreed.Number("MaxBurstLength"))
}

// TestStages: RFC 7143 6.3, the transitions of a login.
func TestStages(t *testing.T) {
	const s, o, f = pdu.StageSecurity, pdu.StageOperational, pdu.StageFull
	for _, now := range []pdu.Stage{0, 1, 2, 3} {
		for _, csg := range []pdu.Stage{0, 1, 2, 3} {
			for _, nsg := range []pdu.Stage{0, 1, 2, 3} {
				h := pdu.New(pdu.OpLogin, pdu.LoginFlags(true, csg, nsg))
				ok := csg == now && (now == s && (nsg == o || nsg == f) || now == o && nsg == f)
				assert.Equal(t, ok, pdu.CheckStage(&h, now) == nil, "now %v csg %v nsg %v", now, csg, nsg)
			}
		}
	}
	h := pdu.New(pdu.OpLogin, pdu.LoginFlags(true, s, o)|pdu.Continue)
	assert.Error(t, pdu.CheckStage(&h, s))
}

func TestLUN(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 16383} {
		assert.Equal(t, n, pdu.DecodeLUN(pdu.EncodeLUN(n)))
	}
	for _, v := range []uint64{1, 1 << 47, 0x8000 << 48, 0x0100 << 48, 0xc101 << 48} {
		assert.Equal(t, -1, pdu.DecodeLUN(v), "%#x", v)
	}
}

func TestSerial(t *testing.T) {
	assert.True(t, pdu.Less(0xffffffff, 0))
	assert.False(t, pdu.Less(0, 0xffffffff))
	assert.False(t, pdu.Less(5, 5))
}

func FuzzReader(f *testing.F) {
	var out bytes.Buffer
	w := pdu.NewWriter(&out)
	_ = w.Write(&pdu.PDU{Header: pdu.New(pdu.OpText, pdu.Final), Data: []byte("SendTargets=All\x00")})
	_ = w.Flush()
	f.Add(out.Bytes(), false, false)
	f.Add(make([]byte, 200), true, true)
	f.Fuzz(func(t *testing.T, stream []byte, hd, dd bool) {
		r := pdu.NewReader(bytes.NewReader(stream), 4096)
		r.HeaderDigest, r.DataDigest = hd, dd
		for {
			h, ahs, err := r.Header()
			if err != nil {
				return
			}
			_ = h.String()
			_, _ = pdu.FullCDB(h, ahs)
			data, err := r.All()
			if err != nil {
				return
			}
			if pairs, err := pdu.ParseText(data); err == nil {
				again, err := pdu.ParseText(pdu.AppendText(nil, pairs...))
				require.NoError(t, err)
				require.Equal(t, pairs, again)
				a := pdu.NewAnswerer(pdu.Values{"HeaderDigest": "CRC32C,None"})
				for _, p := range pairs {
					if _, err := a.Offer(p); err != nil {
						break
					}
				}
			}
		}
	})
}
