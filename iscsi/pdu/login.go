package pdu

import "fmt"

// Stage is where a login is (RFC 7143 11.12.3).
type Stage uint8

// The stages.
const (
	StageSecurity    Stage = 0
	StageOperational Stage = 1
	StageFull        Stage = 3
)

func (s Stage) String() string {
	switch s {
	case StageSecurity:
		return "security negotiation"
	case StageOperational:
		return "operational negotiation"
	case StageFull:
		return "full feature phase"
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// CSG is the current stage in the flags of a login PDU.
func (h *Header) CSG() Stage { return Stage(h[1] >> 2 & 3) }

// NSG is the next stage.
func (h *Header) NSG() Stage { return Stage(h[1] & 3) }

// LoginFlags are the flags of a login PDU; with transit it asks for, or grants, next.
func LoginFlags(transit bool, now, next Stage) byte {
	f := byte(now) << 2
	if transit {
		f |= Transit | byte(next)
	}
	return f
}

// transitions are the steps that a login may take (6.3).
var transitions = map[[2]Stage]bool{
	{StageSecurity, StageOperational}: true,
	{StageSecurity, StageFull}:        true,
	{StageOperational, StageFull}:     true,
}

// CheckStage returns an error unless a login request in h may follow when the login is in stage now.
func CheckStage(h *Header, now Stage) error {
	if h.CSG() != now {
		return fmt.Errorf("%w: login request for %v in %v", ErrMalformed, h.CSG(), now)
	}
	if h.Has(Transit) && !transitions[[2]Stage{now, h.NSG()}] {
		return fmt.Errorf("%w: login from %v to %v", ErrMalformed, now, h.NSG())
	}
	if h.Has(Transit) && h.Has(Continue) {
		return fmt.Errorf("%w: login with both T and C", ErrMalformed)
	}
	return nil
}

// LoginStatus is class and detail of a login response (11.13.5).
type LoginStatus uint16

// The statuses.
const (
	LoginSuccess        LoginStatus = 0x0000
	LoginMoved          LoginStatus = 0x0101
	LoginInitiatorError LoginStatus = 0x0200
	LoginAuthFailed     LoginStatus = 0x0201
	LoginNotAuthorized  LoginStatus = 0x0202
	LoginNoTarget       LoginStatus = 0x0203
	LoginBadVersion     LoginStatus = 0x0205
	LoginTooMany        LoginStatus = 0x0206
	LoginMissing        LoginStatus = 0x0207
	LoginCannotInclude  LoginStatus = 0x0208
	LoginBadSessionType LoginStatus = 0x0209
	LoginNoSession      LoginStatus = 0x020a
	LoginInvalidRequest LoginStatus = 0x020b
	LoginTargetError    LoginStatus = 0x0300
	LoginUnavailable    LoginStatus = 0x0301
	LoginOutOfResources LoginStatus = 0x0302
)

var loginNames = map[LoginStatus]string{
	LoginSuccess: "success", LoginMoved: "target moved", LoginInitiatorError: "initiator error",
	LoginAuthFailed: "authentication failed", LoginNotAuthorized: "this initiator may not use the target",
	LoginNoTarget: "no such target", LoginBadVersion: "unsupported version", LoginTooMany: "too many connections",
	LoginMissing: "a parameter is missing", LoginCannotInclude: "cannot join the session",
	LoginBadSessionType: "session type not supported", LoginNoSession: "session does not exist",
	LoginInvalidRequest: "invalid request during login", LoginTargetError: "target error",
	LoginUnavailable: "service unavailable", LoginOutOfResources: "out of resources",
}

func (s LoginStatus) String() string {
	if n, ok := loginNames[s]; ok {
		return n
	}
	return fmt.Sprintf("login status %#04x", uint16(s))
}

// Retry reports whether another attempt may succeed without a change of configuration (class 3, 11.13.5).
func (s LoginStatus) Retry() bool { return s>>8 == 3 }
