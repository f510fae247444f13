package scsi

import "context"

// runReserve is RESERVE (SPC-2 7.21). CRH is not offered: it conflicts with any persistent registration (SPC-4 5.12.3).
func runReserve(_ context.Context, r *request) ([]byte, error) {
	if len(r.u.pr.Registered) > 0 {
		return nil, errConflict
	}
	holder := r.Nexus
	r.u.old = &holder
	return nil, nil
}

// runRelease is RELEASE (SPC-2 7.16); it does nothing for those who hold nothing.
func runRelease(_ context.Context, r *request) ([]byte, error) {
	if len(r.u.pr.Registered) > 0 {
		return nil, errConflict
	}
	if r.u.old != nil && *r.u.old == r.Nexus {
		r.u.old = nil
	}
	return nil, nil
}
