package wire

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
)

// random fills v with values that are legal on the wire; lists get n items.
func random(rng *rand.Rand, v reflect.Value, name string, n int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			random(rng, v.Field(i), v.Type().Field(i).Name, n)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if k := rng.IntN(MaxValue + 1); k > 0 {
				b := make([]byte, k)
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				v.SetBytes(b)
			}
			return
		}
		if n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				random(rng, v.Index(i), name, n)
			}
		}
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	default:
		u := rng.Uint64()
		switch name {
		case "Mode", "Want":
			u %= maxMode + 1
		case "Reason":
			u %= uint64(maxReason) + 1
		}
		v.SetUint(u & (1<<(8*v.Type().Size()) - 1))
	}
}

func samples(rng *rand.Rand) []Message {
	var all []Message
	for k := KindLookup; k < kinds; k++ {
		for n := range 4 {
			m := makers[k].make()
			random(rng, reflect.ValueOf(m).Elem(), "", n)
			all = append(all, m)
		}
	}
	return all
}

func TestMessage_RoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		for _, m := range samples(rng) {
			b := Append([]byte("before"), m)
			require.Equal(t, "before", string(b[:6]))
			got, err := Decode(b[6:])
			require.NoError(t, err)
			require.Equal(t, m, got)
		}
	}
}

// TestMessage_CutAndGrown shows that no proper prefix of a message and nothing longer is a message.
func TestMessage_CutAndGrown(t *testing.T) {
	for _, m := range samples(rand.New(rand.NewPCG(2, 2))) {
		b := Append(nil, m)
		for n := range b {
			_, err := Decode(b[:n])
			require.ErrorIs(t, err, ErrMalformed, "%s cut at %d", m.Kind(), n)
		}
		_, err := Decode(append(b, 0))
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestMessage_IllegalValues(t *testing.T) {
	for _, tc := range []struct {
		name string
		m    Message
		at   int // offset of the byte to spoil
		to   byte
	}{
		{"kind 0", &Done{}, 0, 0},
		{"kind too high", &Done{}, 0, byte(kinds)},
		{"mode", &Blocking{}, 10, maxMode + 1},
		{"reason", &Deny{}, 18, maxReason + 1},
		{"bool", &Lookup{}, 18, 2},
		{"value too long", &Grant{Value: make([]byte, MaxValue)}, 36, MaxValue + 1},
		{"count beyond the bytes", &Register{}, 9, 1},
		{"count that overflows", &Register{}, 12, 0xff},
		{"claims beyond the bytes", &Claims{Items: make([]Claim, 1)}, 9, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := Append(nil, tc.m)
			_, err := Decode(b)
			require.NoError(t, err)
			b[tc.at] = tc.to
			_, err = Decode(b)
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
}

// TestDecode_AllocatesNoMoreThanTheBytes gives counts of billions in a few bytes.
func TestDecode_AllocatesNoMoreThanTheBytes(t *testing.T) {
	for _, k := range []Kind{KindRegister, KindMarkers, KindClaims, KindReady} {
		b := append([]byte{byte(k)}, make([]byte, 40)...)
		for i := 9; i < 14; i++ {
			b[i] = 0x7f
		}
		allocs := testing.AllocsPerRun(100, func() { _, _ = Decode(b) })
		assert.Less(t, allocs, 20.0, k)
	}
}

func TestFrame_RoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		var f Frame
		random(rng, reflect.ValueOf(&f).Elem(), "", 0)
		f.Seq |= 1
		b := AppendFrame(nil, &f)
		require.Len(t, b, FrameSize)
		got, rest, err := DecodeFrame(append(b, 7))
		require.NoError(t, err)
		require.Equal(t, f, got)
		require.Equal(t, []byte{7}, rest)
		_, _, err = DecodeFrame(b)
		require.ErrorIs(t, err, ErrMalformed, "a number without a message")
		_, _, err = DecodeFrame(b[:FrameSize-1])
		require.ErrorIs(t, err, ErrMalformed)
	}
	_, _, err := DecodeFrame(append(AppendFrame(nil, &Frame{}), 1))
	require.ErrorIs(t, err, ErrMalformed, "a message without a number")
}

// TestTables_NameEveryField holds the descriptions to the structs: same number, same order, same names.
func TestTables_NameEveryField(t *testing.T) {
	aliases := map[string][]string{"res": {"resource", "resources"}, "items": {"claims"}}
	for _, table := range Tables() {
		t.Run(table.Name, func(t *testing.T) {
			assert.NotEmpty(t, table.Doc)
			assert.Equal(t, table.Name, table.Kind.String())
			typ := reflect.TypeOf(makers[table.Kind].make()).Elem()
			assert.Equal(t, table.Name, typ.Name())
			var top []string
			for _, f := range table.Fields {
				assert.NotEmpty(t, f.Doc, f.Name)
				if !strings.Contains(f.Name, ".") {
					top = append(top, f.Name)
				}
			}
			require.Len(t, top, typ.NumField())
			for i := range typ.NumField() {
				name := strings.ToLower(typ.Field(i).Name)
				if alias, ok := aliases[name]; ok && name != top[i] {
					name = alias[min(len(alias)-1, strings.Count(top[i], "resources"))]
				}
				assert.Equal(t, name, top[i])
			}
		})
	}
}

// TestKinds_AreFixed holds the numbers, which are the protocol.
func TestKinds_AreFixed(t *testing.T) {
	names := "Lookup Master Drop Request Grant Deny Cancel Release Blocking Register Markers Claims Ready Done"
	for i, name := range strings.Fields(names) {
		assert.Equal(t, name, Kind(i+1).String())
	}
	assert.Equal(t, "Kind(0)", Kind(0).String())
	assert.Equal(t, "Kind(200)", Kind(200).String())
	assert.Equal(t, len(strings.Fields(names))+1, Kinds)
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples(rand.New(rand.NewPCG(4, 4))) {
		f.Add(Append(nil, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			assert.ErrorIs(t, err, ErrMalformed)
			return
		}
		assert.Equal(t, b, Append(nil, m))
	})
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add(AppendFrame(nil, &Frame{From: view.NodeID{Slot: 1, Incarnation: 2}, Epoch: 3}))
	f.Add(append(AppendFrame(nil, &Frame{Seq: 1}), 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rest, err := DecodeFrame(b)
		if err == nil {
			assert.Equal(t, b, append(AppendFrame(nil, &h), rest...))
		}
	})
}
