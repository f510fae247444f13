package target

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/covol/covol/iscsi/chap"
	"github.com/covol/covol/iscsi/pdu"
	"github.com/covol/covol/iscsi/scsi"
)

// Bounds and wishes of a login.
const (
	loginData     = 8192 // bytes, of a data segment before anything is agreed (RFC 7143 13.12)
	maxLoginSteps = 64   // requests of one login
	maxRecvData   = 256 << 10
	firstBurst    = 64 << 10
	maxBurst      = 1 << 20
)

// ours is what we would have. InitialR2T stays Yes: data that nobody asked for would need memory that nobody granted;
// immediate data covers short writes.
var ours = pdu.Values{
	"HeaderDigest": "CRC32C,None", "DataDigest": "CRC32C,None", "MaxConnections": "1", "InitialR2T": "Yes", "ImmediateData": "Yes",
	"MaxBurstLength": strconv.Itoa(maxBurst), "FirstBurstLength": strconv.Itoa(firstBurst), "DefaultTime2Wait": "0", "DefaultTime2Retain": "0",
	"MaxOutstandingR2T": "1", "ErrorRecoveryLevel": "0",
}

// loginError ends a login with a status that the initiator is told.
type loginError struct {
	status pdu.LoginStatus
	err    error
}

func (e *loginError) Error() string {
	if e.err == nil {
		return "login: " + e.status.String()
	}
	return fmt.Sprintf("login: %v: %v", e.status, e.err)
}

func (e *loginError) Unwrap() error { return e.err }

func refuse(s pdu.LoginStatus, format string, args ...any) error {
	return &loginError{s, fmt.Errorf(format, args...)}
}

// login is a login in progress.
type login struct {
	c       *conn
	first   *pdu.Header
	stage   pdu.Stage
	a       *pdu.Answerer
	checked bool // names
	proved  bool // authentication is done, or none is needed
	method  string
	ask     *chap.Challenge
	told    bool // our own declarations are made
}

// login logs the initiator in (RFC 7143 6.3).
func (c *conn) login() error {
	l := &login{c: c, a: pdu.NewAnswerer(ours), proved: c.t.o.CHAP.Zero()}
	var text []byte
	for range maxLoginSteps {
		h, _, err := c.r.Header()
		if err != nil {
			return fmt.Errorf("login: %w", err)
		}
		data, err := c.r.All()
		if err != nil {
			return fmt.Errorf("login: %w", err)
		}
		if text = append(text, data...); len(text) > pdu.MaxText {
			return l.fail(h, refuse(pdu.LoginInitiatorError, "%w: text of %d bytes", pdu.ErrTooLong, len(text)))
		}
		var answer []pdu.Pair
		if err := l.check(h); err != nil {
			return l.fail(h, err)
		}
		if !h.Has(pdu.Continue) {
			if answer, err = l.step(h, text); err != nil {
				return l.fail(h, err)
			}
			text = nil
		}
		if done, err := l.reply(h, answer); err != nil || done {
			return err
		}
	}
	return errors.New("login: too many requests")
}

// check looks at the header.
func (l *login) check(h *pdu.Header) error {
	if h.Op() != pdu.OpLogin {
		return refuse(pdu.LoginInvalidRequest, "%w: %v during login", pdu.ErrMalformed, h.Op())
	}
	if l.first == nil {
		l.first, l.stage = h, h.CSG()
		l.c.isid, l.c.expCmdSN = h.Get(pdu.ISID), h.U32(pdu.CmdSN)
		switch {
		case h.Get(pdu.VersionMin) > 0:
			return refuse(pdu.LoginBadVersion, "version %d at least", h.Get(pdu.VersionMin))
		case h.Get(pdu.TSIH) != 0:
			return refuse(pdu.LoginNoSession, "a second connection for session %d", h.Get(pdu.TSIH))
		case l.stage == pdu.StageOperational && !l.proved:
			return refuse(pdu.LoginAuthFailed, "the initiator leaves authentication out")
		}
	}
	f := l.first
	if h.Get(pdu.ISID) != f.Get(pdu.ISID) || h.Get(pdu.CID) != f.Get(pdu.CID) || h.Get(pdu.ITT) != f.Get(pdu.ITT) {
		return refuse(pdu.LoginInvalidRequest, "%w: another login's request", pdu.ErrMalformed)
	}
	if err := pdu.CheckStage(h, l.stage); err != nil {
		return &loginError{pdu.LoginInitiatorError, err}
	}
	return nil
}

// step takes the keys of a request and returns those of the answer.
func (l *login) step(h *pdu.Header, text []byte) (answer []pdu.Pair, err error) {
	pairs, err := pdu.ParseText(text)
	if err != nil {
		return nil, &loginError{pdu.LoginInitiatorError, err}
	}
	auth := map[string]string{}
	for _, p := range pairs {
		if p.Key == "AuthMethod" || strings.HasPrefix(p.Key, "CHAP_") {
			auth[p.Key] = p.Value
			continue
		}
		a, err := l.a.Offer(p)
		if err != nil {
			return nil, &loginError{pdu.LoginInitiatorError, err}
		}
		if a != nil {
			answer = append(answer, *a)
		}
	}
	if !l.checked {
		if err := l.names(); err != nil {
			return nil, err
		}
		l.checked = true
		if !l.c.discovery {
			answer = append(answer, pdu.Pair{Key: "TargetPortalGroupTag", Value: strconv.Itoa(portalGroup)})
		}
	}
	if len(auth) > 0 {
		if l.stage != pdu.StageSecurity {
			return nil, refuse(pdu.LoginInitiatorError, "%w: authentication in %v", pdu.ErrMalformed, l.stage)
		}
		more, err := l.authenticate(auth)
		if err != nil {
			return nil, err
		}
		answer = append(answer, more...)
	}
	if l.stage == pdu.StageOperational && !l.told {
		l.told = true
		answer = append(answer, pdu.Pair{Key: "MaxRecvDataSegmentLength", Value: strconv.Itoa(maxRecvData)})
	}
	return answer, nil
}

// names checks who comes and where to.
func (l *login) names() error {
	c, o := l.c, &l.c.t.o
	name := l.a.Peer["InitiatorName"]
	if name == "" || len(name) > 223 {
		return refuse(pdu.LoginMissing, "InitiatorName of %d bytes", len(name))
	}
	switch kind := l.a.Peer["SessionType"]; kind {
	case "", "Normal":
		want := l.a.Peer["TargetName"]
		if want == "" {
			return refuse(pdu.LoginMissing, "no TargetName")
		}
		if want != o.Name {
			return refuse(pdu.LoginNoTarget, "%.223q", want)
		}
	case "Discovery":
		c.discovery = true
	default:
		return refuse(pdu.LoginBadSessionType, "%.40q", kind)
	}
	if len(o.Allow) > 0 && !slices.Contains(o.Allow, name) {
		return refuse(pdu.LoginNotAuthorized, "%s", name)
	}
	c.port = port{name, c.isid}
	c.nexus = scsi.Nexus{Initiator: fmt.Sprintf("%s,i,0x%012x", name, c.isid), Port: portalGroup}
	return nil
}

// authenticate takes one step of it (RFC 7143 12).
func (l *login) authenticate(keys map[string]string) (answer []pdu.Pair, err error) {
	o := &l.c.t.o
	if offer, ok := keys["AuthMethod"]; ok {
		if l.method != "" {
			return nil, refuse(pdu.LoginInitiatorError, "%w: AuthMethod twice", pdu.ErrMalformed)
		}
		if l.method = "None"; !l.proved {
			l.method = "CHAP"
		}
		if !slices.Contains(strings.Split(offer, ","), l.method) {
			return nil, refuse(pdu.LoginAuthFailed, "initiator offers %.80q, want %s", offer, l.method)
		}
		return []pdu.Pair{{Key: "AuthMethod", Value: l.method}}, nil
	}
	switch _, responds := keys[chap.KeyResponse]; {
	case l.method != "CHAP":
		return nil, refuse(pdu.LoginAuthFailed, "CHAP was not agreed on")
	case !responds && l.ask == nil:
		algorithm, err := chap.Pick(keys[chap.KeyAlgorithm])
		if err != nil {
			return nil, &loginError{pdu.LoginAuthFailed, err}
		}
		if l.ask, err = chap.NewChallenge(o.Random, algorithm); err != nil {
			return nil, &loginError{pdu.LoginTargetError, err}
		}
		return append([]pdu.Pair{{Key: chap.KeyAlgorithm, Value: algorithm}}, l.ask.Pairs()...), nil
	case l.ask == nil || l.proved:
		return nil, refuse(pdu.LoginAuthFailed, "CHAP response out of turn")
	}
	if err := l.ask.Check(o.CHAP, keys[chap.KeyName], keys[chap.KeyResponse]); err != nil {
		return nil, &loginError{pdu.LoginAuthFailed, err}
	}
	l.proved = true
	return l.proveBack(keys)
}

// proveBack answers the challenge of an initiator that wants mutual authentication.
func (l *login) proveBack(keys map[string]string) ([]pdu.Pair, error) {
	value, asks := keys[chap.KeyChallenge]
	if !asks {
		return nil, nil
	}
	if l.c.t.o.Mutual.Zero() {
		return nil, refuse(pdu.LoginAuthFailed, "the initiator wants us to prove ourselves, and we have no secret")
	}
	theirs, err := chap.ParseChallenge(l.ask.Algorithm, keys[chap.KeyID], value)
	if err != nil {
		return nil, &loginError{pdu.LoginAuthFailed, err}
	}
	answer, err := theirs.Answer(l.c.t.o.Mutual, l.ask)
	if err != nil {
		return nil, &loginError{pdu.LoginAuthFailed, err}
	}
	return answer, nil
}

// reply answers a request, and on the last one begins the session.
func (l *login) reply(h *pdu.Header, answer []pdu.Pair) (done bool, err error) {
	c := l.c
	flags := pdu.LoginFlags(false, l.stage, 0)
	if h.Has(pdu.Transit) && l.proved {
		flags = pdu.LoginFlags(true, l.stage, h.NSG())
		done = h.NSG() == pdu.StageFull
	}
	p := &pdu.PDU{Header: pdu.New(pdu.OpLoginReply, flags), Data: pdu.AppendText(nil, answer...)}
	p.Set(pdu.ISID, h.Get(pdu.ISID))
	p.Set(pdu.ITT, h.Get(pdu.ITT))
	if done {
		tsih, reinstated := c.t.enter(c)
		p.Set(pdu.TSIH, uint64(tsih))
		if !c.discovery {
			c.t.o.Server.Attach(c.nexus, reinstated)
			c.attached = true
		}
	}
	if err := l.write(p); err != nil {
		return false, err
	}
	if h.Has(pdu.Transit) && l.proved {
		l.stage = h.NSG()
	}
	if done {
		l.begin()
	}
	return done, nil
}

func (l *login) write(p *pdu.PDU) error {
	l.c.out.stamp(&p.Header)
	err := l.c.out.w.Write(p)
	if err == nil {
		err = l.c.out.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	return nil
}

// begin puts what was agreed on into force.
func (l *login) begin() {
	c := l.c
	c.mu.Lock()
	c.values = l.a.Agreed
	c.mu.Unlock()
	if n, err := strconv.Atoi(l.a.Peer["MaxRecvDataSegmentLength"]); err == nil {
		c.maxData.Store(int64(n))
	}
	h, d := c.values.Digest("HeaderDigest"), c.values.Digest("DataDigest")
	c.r.HeaderDigest, c.r.DataDigest, c.r.MaxData = h, d, maxRecvData
	c.out.w.HeaderDigest, c.out.w.DataDigest = h, d
	c.heard.Store(int64(c.t.o.Clock.Now()))
	c.loggedIn.Store(true)
}

// fail tells the initiator why, and returns err.
func (l *login) fail(h *pdu.Header, err error) error {
	status := pdu.LoginInitiatorError
	var e *loginError
	if errors.As(err, &e) {
		status = e.status
	}
	p := &pdu.PDU{Header: pdu.New(pdu.OpLoginReply, pdu.LoginFlags(false, l.stage, 0))}
	p.Set(pdu.ISID, h.Get(pdu.ISID))
	p.Set(pdu.ITT, h.Get(pdu.ITT))
	p.Set(pdu.StatusClass, uint64(status>>8))
	p.Set(pdu.StatusDetail, uint64(status&0xff))
	_ = l.write(p)
	return err
}
