package chap_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/iscsi/chap"
	"github.com/covol/covol/iscsi/pdu"
)

func TestBothSides(t *testing.T) {
	secret := chap.Secret{Name: "user", Secret: "a secret of some length"}
	for _, offer := range []string{"5", "6,5", "7", "9,7,5", chap.Offer()} {
		alg, err := chap.Pick(offer)
		require.NoError(t, err)
		ours, err := chap.NewChallenge(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), alg)
		require.NoError(t, err)
		asked := ours.Pairs()
		theirs, err := chap.ParseChallenge(alg, asked[0].Value, asked[1].Value)
		require.NoError(t, err)
		answer, err := theirs.Answer(secret, nil)
		require.NoError(t, err)
		assert.NoError(t, ours.Check(secret, answer[0].Value, answer[1].Value))
		assert.ErrorIs(t, ours.Check(secret, "other", answer[1].Value), chap.ErrFailed)
		assert.ErrorIs(t, ours.Check(chap.Secret{Name: "user", Secret: "another"}, "user", answer[1].Value), chap.ErrFailed)
		assert.ErrorIs(t, ours.Check(secret, "user", "0x00"), chap.ErrFailed)
		assert.ErrorIs(t, ours.Check(secret, "user", "junk"), chap.ErrFailed)
		_, err = theirs.Answer(secret, ours)
		assert.ErrorIs(t, err, chap.ErrReflected)
	}
}

// TestResponse is RFC 1994 4.1 spelled out: MD5 over identifier, secret, challenge.
func TestResponse(t *testing.T) {
	c, err := chap.ParseChallenge("5", "3", "0x0102")
	require.NoError(t, err)
	answer, err := c.Answer(chap.Secret{Name: "n", Secret: "abc"}, nil)
	require.NoError(t, err)
	sum := md5.Sum([]byte{3, 'a', 'b', 'c', 1, 2})
	assert.Equal(t, "0x"+hex.EncodeToString(sum[:]), answer[1].Value)
}

func TestBadChallenges(t *testing.T) {
	for _, c := range [][3]string{{"1", "1", "0x01"}, {"5", "x", "0x01"}, {"5", "256", "0x01"}, {"5", "1", "0x"}, {"5", "1", ""}} {
		_, err := chap.ParseChallenge(c[0], c[1], c[2])
		assert.Error(t, err, c)
	}
	_, err := chap.Pick("1,2,99")
	assert.ErrorIs(t, err, chap.ErrNoCommon)
	_, err = chap.ParseChallenge("5", "1", "x")
	assert.ErrorIs(t, err, pdu.ErrMalformed)
}
