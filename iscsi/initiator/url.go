package initiator

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/covol/covol/iscsi/chap"
)

// Scheme begins every URL.
const Scheme = "iscsi://"

const defaultPort = "3260" // RFC 7143 3.2.6.1

// URL names a logical unit: iscsi://[user%password@]host[:port][,host[:port]...]/target-name/lun.
type URL struct {
	CHAP    chap.Secret
	Portals []string // host:port, tried in turn
	Target  string
	LUN     int
}

// ErrURL says that a string is no such URL.
var ErrURL = errors.New("want iscsi://[user%password@]host[:port]/target-name/lun")

// ParseURL reads a URL. User and password may be percent-encoded, but for the % between them.
func ParseURL(s string) (*URL, error) {
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return nil, fmt.Errorf("%q: %w", s, ErrURL)
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 3 || parts[1] == "" {
		return nil, fmt.Errorf("%w", ErrURL) // the string may hold a password
	}
	u := &URL{Target: parts[1]}
	lun, err := strconv.ParseUint(parts[2], 10, 14)
	if err != nil {
		return nil, fmt.Errorf("logical unit %q: %w", parts[2], ErrURL)
	}
	u.LUN = int(lun)
	hosts := parts[0]
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		user, password, ok := strings.Cut(hosts[:at], "%")
		if !ok || user == "" {
			return nil, fmt.Errorf("user without password: %w", ErrURL)
		}
		u.CHAP = chap.Secret{Name: unescape(user), Secret: unescape(password)}
		hosts = hosts[at+1:]
	}
	for _, h := range strings.Split(hosts, ",") {
		portal, err := portalOf(h)
		if err != nil {
			return nil, err
		}
		u.Portals = append(u.Portals, portal)
	}
	return u, nil
}

func unescape(s string) string {
	if t, err := url.PathUnescape(s); err == nil {
		return t
	}
	return s
}

func portalOf(h string) (string, error) {
	host, port, err := net.SplitHostPort(h)
	if err != nil {
		host, port = strings.Trim(h, "[]"), defaultPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil || n == 0 {
		return "", fmt.Errorf("portal %q: %w", h, ErrURL)
	}
	return net.JoinHostPort(host, port), nil
}

// String is the URL without its password.
func (u *URL) String() string {
	user := ""
	if !u.CHAP.Zero() {
		user = url.PathEscape(u.CHAP.Name) + "%***@"
	}
	return fmt.Sprintf("%s%s%s/%s/%d", Scheme, user, strings.Join(u.Portals, ","), u.Target, u.LUN)
}
