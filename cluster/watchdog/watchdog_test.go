package watchdog

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errInjected = errors.New("injected")

// fake is a timer that notes what is done with it, and fails at one of the calls.
type fake struct {
	calls []string
	fail  string
	least int // seconds that it counts at least
	asked int
}

func (f *fake) call(what string) error {
	f.calls = append(f.calls, what)
	if f.fail == what {
		return errInjected
	}
	return nil
}

func (f *fake) SetTimeout(s int) (int, error) {
	f.asked = s
	return max(s, f.least), f.call("timeout")
}
func (f *fake) Keepalive() error { return f.call("keepalive") }
func (f *fake) Disarm() error    { return f.call("V") }
func (f *fake) Close() error     { return f.call("close") }

func dogOf(f *fake) *Dog {
	return New("/dev/watchdog0", func() (Device, error) { return f, f.call("open") })
}

func TestLife(t *testing.T) {
	f := &fake{}
	d := dogOf(f)
	require.NoError(t, d.Feed(), "not armed")
	require.NoError(t, d.Disarm())
	assert.Equal(t, "/dev/watchdog0, not armed", d.String())
	require.NoError(t, d.Arm(9900*time.Millisecond))
	assert.Equal(t, 9, f.asked, "never later than the limit")
	assert.Equal(t, "/dev/watchdog0, fires after 9s", d.String())
	require.Error(t, d.Arm(9*time.Second), "twice")
	require.NoError(t, d.Feed())
	require.NoError(t, d.Disarm())
	require.NoError(t, d.Disarm())
	require.NoError(t, d.Feed())
	assert.Equal(t, []string{"open", "timeout", "keepalive", "keepalive", "V", "close"}, f.calls)
}

// Whatever fails while it is armed, the timer is stopped, or the error says that it is not.
func TestArmFails(t *testing.T) {
	for _, fail := range []string{"open", "timeout", "keepalive"} {
		f := &fake{fail: fail}
		require.ErrorIs(t, dogOf(f).Arm(9*time.Second), errInjected)
		if fail != "open" {
			assert.Equal(t, []string{"V", "close"}, f.calls[len(f.calls)-2:])
		}
	}
	f := &fake{least: 10}
	d := dogOf(f)
	require.ErrorContains(t, d.Arm(9*time.Second), "fires after 10 s at the earliest, the lease allows 9 s")
	assert.Equal(t, []string{"open", "timeout", "V", "close"}, f.calls)
	require.NoError(t, d.Feed())

	require.ErrorContains(t, dogOf(&fake{}).Arm(900*time.Millisecond), "use another profile")
	f = &fake{least: 10, fail: "V"}
	require.ErrorContains(t, dogOf(f).Arm(9*time.Second), "will reset this host")
	assert.Contains(t, f.calls, "close")
}

func TestFeedAndDisarmFail(t *testing.T) {
	f := &fake{}
	d := dogOf(f)
	require.NoError(t, d.Arm(9*time.Second))
	f.fail = "keepalive"
	require.ErrorIs(t, d.Feed(), errInjected)
	f.fail = "V"
	require.ErrorContains(t, d.Disarm(), "will reset this host")
	f.fail = ""
	require.NoError(t, d.Disarm(), "it was given up")
}

// What is not a watchdog is refused by the kernel, not by luck.
func TestOpenSomethingElse(t *testing.T) {
	require.Error(t, New("none", Open(filepath.Join(t.TempDir(), "none"))).Arm(9*time.Second))
	require.ErrorContains(t, New("null", Open("/dev/null")).Arm(9*time.Second), "set its time to 9 s")
}
