package initiator

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/covol/covol/iscsi/chap"
	"github.com/covol/covol/iscsi/pdu"
)

// LoginError is a login that the target refused.
type LoginError struct{ Status pdu.LoginStatus }

func (e *LoginError) Error() string { return "login refused: " + e.Status.String() }

// Bounds and wishes of a login.
const (
	maxLoginSteps = 32
	maxRecvData   = 256 << 10
	loginTag      = 1
)

// offers are the operational keys. InitialR2T stays Yes: what immediate data does not cover the target asks for.
func (d *Device) offers() pdu.Values {
	digest := "None"
	if d.o.Digest {
		digest = "CRC32C,None"
	}
	return pdu.Values{
		"HeaderDigest": digest, "DataDigest": digest, "MaxConnections": "1", "InitialR2T": "Yes", "ImmediateData": "Yes",
		"MaxRecvDataSegmentLength": strconv.Itoa(maxRecvData), "MaxBurstLength": "1048576", "FirstBurstLength": "262144",
		"DefaultTime2Wait": "0", "DefaultTime2Retain": "0", "MaxOutstandingR2T": "8", "ErrorRecoveryLevel": "0",
		"DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes",
	}
}

// connect makes a session at a portal.
func (d *Device) connect(ctx context.Context, portal string) (*link, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := d.o.Clock.AfterFunc(d.o.LoginTime, func() { cancel(fmt.Errorf("%w: login after %s", ErrTimeout, d.o.LoginTime)) })
	defer stop()
	nc, err := d.o.Dial(ctx, portal)
	if err != nil {
		return nil, cause(ctx, err)
	}
	release := context.AfterFunc(ctx, func() { _ = nc.Close() })
	l := &link{d: d, portal: portal, nc: nc, r: pdu.NewReader(nc, maxRecvData), w: pdu.NewWriter(nc), values: pdu.Defaults(), peer: pdu.Values{},
		woken: make(chan struct{}, 1), sent: map[uint32]*op{}, left: make(chan struct{}), heard: d.o.Clock.Now(), cmdSN: 1}
	s := &loginSession{l: l, offers: d.offers()}
	if err := s.run(); err != nil {
		_ = nc.Close()
		return nil, cause(ctx, err)
	}
	if !release() {
		return nil, cause(ctx, ctx.Err())
	}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	return l, nil
}

// cause prefers why ctx ended to the error that this led to.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// loginSession is a login in progress (RFC 7143 6.3).
type loginSession struct {
	l      *link
	offers pdu.Values
	stage  pdu.Stage
	ask    *chap.Challenge // that we put to the target
	proved bool            // the target answered it
	asked  bool            // the target wanted a proof of us
}

func (s *loginSession) run() error {
	d := s.l.d
	method := "None"
	if !d.url.CHAP.Zero() {
		method = "CHAP"
	}
	pairs := []pdu.Pair{{Key: "InitiatorName", Value: d.o.Name}, {Key: "SessionType", Value: "Normal"}, {Key: "TargetName", Value: d.url.Target}, {Key: "AuthMethod", Value: method}}
	transit := method == "None"
	for range maxLoginSteps {
		h, answer, err := s.exchange(pairs, transit)
		if err != nil {
			return err
		}
		moved := h.Has(pdu.Transit)
		if moved && !transit || moved && h.NSG() != s.stage+1 && h.NSG() != pdu.StageFull {
			return fmt.Errorf("%w: the target leaves %v unasked", pdu.ErrMalformed, s.stage)
		}
		pairs, transit = nil, true
		if s.stage == pdu.StageSecurity {
			if pairs, transit, err = s.security(answer, method); err != nil {
				return err
			}
		} else if err := s.operational(answer); err != nil {
			return err
		}
		if !moved {
			continue
		}
		if method == "CHAP" && (!s.asked || s.ask != nil && !s.proved) {
			return fmt.Errorf("%w: the target skips authentication", chap.ErrFailed)
		}
		if s.stage = h.NSG(); s.stage == pdu.StageFull {
			s.begin()
			return nil
		}
		for _, k := range pdu.Keys { // in the order of the table
			if v, ok := s.offers[k.Name]; ok {
				pairs = append(pairs, pdu.Pair{Key: k.Name, Value: v})
			}
		}
		transit = true
	}
	return errors.New("login does not come to an end")
}

// exchange sends a request and returns the answer.
func (s *loginSession) exchange(pairs []pdu.Pair, transit bool) (*pdu.Header, []pdu.Pair, error) {
	l := s.l
	next := pdu.StageOperational
	if s.stage == pdu.StageOperational {
		next = pdu.StageFull
	}
	p := &pdu.PDU{Header: pdu.New(pdu.OpLogin, pdu.LoginFlags(transit, s.stage, next)), Data: pdu.AppendText(nil, pairs...)}
	p.SetImmediate()
	p.Set(pdu.ISID, l.d.o.ISID)
	p.Set32(pdu.ITT, loginTag)
	p.Set32(pdu.CmdSN, l.cmdSN)
	p.Set32(pdu.ExpStatSN, l.expStatSN)
	if err := l.w.Write(p); err != nil {
		return nil, nil, err
	}
	if err := l.w.Flush(); err != nil {
		return nil, nil, err
	}
	h, _, err := l.r.Header()
	if err != nil {
		return nil, nil, fmt.Errorf("login: %w", err)
	}
	text, err := l.r.All()
	if err != nil {
		return nil, nil, fmt.Errorf("login: %w", err)
	}
	if h.Op() != pdu.OpLoginReply {
		return nil, nil, fmt.Errorf("%w: %v during login", pdu.ErrMalformed, h.Op())
	}
	if status := pdu.LoginStatus(h.Get(pdu.StatusClass)<<8 | h.Get(pdu.StatusDetail)); status != pdu.LoginSuccess {
		return nil, nil, &LoginError{status}
	}
	l.expStatSN, l.maxCmdSN = h.U32(pdu.StatSN)+1, h.U32(pdu.MaxCmdSN)
	if h.Has(pdu.Continue) { // all that a target has to say fits one PDU
		return nil, nil, fmt.Errorf("%w: the target's login text", pdu.ErrTooLong)
	}
	answer, err := pdu.ParseText(text)
	return h, answer, err
}

// security takes one step of authentication and returns what to say next, and whether to go on to the next stage.
func (s *loginSession) security(answer []pdu.Pair, method string) (next []pdu.Pair, transit bool, err error) {
	keys := map[string]string{}
	for _, p := range answer {
		keys[p.Key] = p.Value
	}
	d := s.l.d
	if got, ok := keys["AuthMethod"]; ok {
		if got != method {
			return nil, false, fmt.Errorf("%w: the target wants %.20q", chap.ErrFailed, got)
		}
		if method == "CHAP" {
			return []pdu.Pair{{Key: chap.KeyAlgorithm, Value: chap.Offer()}}, false, nil
		}
	}
	switch response, responds := keys[chap.KeyResponse]; {
	case responds && s.ask != nil:
		if err := s.ask.Check(d.o.Mutual, keys[chap.KeyName], response); err != nil {
			return nil, false, fmt.Errorf("the target: %w", err)
		}
		s.proved = true
	case keys[chap.KeyChallenge] != "":
		theirs, err := chap.ParseChallenge(keys[chap.KeyAlgorithm], keys[chap.KeyID], keys[chap.KeyChallenge])
		if err != nil {
			return nil, false, err
		}
		s.asked = true
		if !d.o.Mutual.Zero() {
			if s.ask, err = chap.NewChallenge(d.o.Random, theirs.Algorithm); err != nil {
				return nil, false, err
			}
			next = s.ask.Pairs()
		}
		proof, err := theirs.Answer(d.url.CHAP, s.ask)
		return append(proof, next...), true, err
	}
	return nil, true, nil
}

func (s *loginSession) operational(answer []pdu.Pair) error {
	for _, p := range answer {
		if err := pdu.Answered(s.l.values, s.l.peer, s.offers, p); err != nil {
			return err
		}
	}
	return nil
}

// begin puts what was agreed on into force.
func (s *loginSession) begin() {
	l := s.l
	h, d := l.values.Digest("HeaderDigest"), l.values.Digest("DataDigest")
	l.r.HeaderDigest, l.r.DataDigest = h, d
	l.w.HeaderDigest, l.w.DataDigest = h, d
}
