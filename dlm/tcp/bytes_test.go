package tcp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
)

func encode(messages ...message) []byte {
	parts, _ := gather(messages, nil)
	var b bytes.Buffer
	for _, p := range parts {
		b.Write(p)
	}
	return b.Bytes()
}

func TestFrame_RoundTrip(t *testing.T) {
	var scratch []byte
	for _, sizes := range [][]int{{0}, {1}, {5, 0, 7}, {copyBelow - 1, copyBelow, copyBelow + 1}, {copyBelow, copyBelow}, {1, copyBelow, 2}, {maxFrame - 1}} {
		var in []message
		for i, n := range sizes {
			in = append(in, message{channel: byte(i), body: bytes.Repeat([]byte{byte(i + 1)}, n)})
		}
		parts, s := gather(in, scratch)
		scratch = s
		var b bytes.Buffer
		for _, p := range parts {
			b.Write(p)
		}
		r := bufio.NewReader(&b)
		for _, want := range in {
			got, err := readFrame(r)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		_, err := readFrame(r)
		require.ErrorIs(t, err, io.EOF)
	}
}

func TestFrame_EveryBitFlipIsRefused(t *testing.T) {
	good := encode(message{channel: ChannelControl, body: []byte("lock message")})
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		_, err := readFrame(bufio.NewReader(bytes.NewReader(bad)))
		require.Error(t, err, "bit %d", bit)
	}
	for n := range good {
		_, err := readFrame(bufio.NewReader(bytes.NewReader(good[:n])))
		require.Error(t, err, "cut at %d", n)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(encode(message{channel: ChannelLocks, body: []byte("x")}))
	f.Add(encode(message{channel: channelKeepalive}))
	f.Add([]byte{0, 0, 0, 0, 1, 2, 3, 4, 5})
	f.Add([]byte{255, 255, 255, 255, 1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readFrame(bufio.NewReader(bytes.NewReader(b)))
		if err == nil {
			assert.True(t, bytes.HasPrefix(b, encode(m)))
		}
	})
}

func TestHello_EveryBitFlipIsRefused(t *testing.T) {
	h := hello{version: Version, volume: [16]byte{1, 2}, from: view.NodeID{Slot: 3, Incarnation: 9}, to: view.NodeID{Slot: 4, Incarnation: 1}}
	good := h.append(nil)
	require.Len(t, good, helloSize)
	got, err := parseHello(good)
	require.NoError(t, err)
	require.Equal(t, h, got)
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		_, err := parseHello(bad)
		require.ErrorIs(t, err, ErrRefused, "bit %d", bit)
	}
}

func FuzzHello(f *testing.F) {
	h := hello{version: Version}
	f.Add(h.append(nil))
	f.Add([]byte(helloMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			assert.True(t, errors.Is(err, ErrRefused))
			return
		}
		assert.Equal(t, b, h.append(nil))
	})
}

func TestVerdict_String(t *testing.T) {
	seen := map[string]bool{}
	for v := range verdicts {
		assert.False(t, seen[v.String()])
		seen[v.String()] = true
	}
	assert.Equal(t, "verdict 99", verdict(99).String())
}
