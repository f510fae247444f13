package scsi

// oldAllowed are the opcodes that do not conflict with another's RESERVE (SPC-2 table 6).
var oldAllowed = map[byte]bool{0x03: true, 0x12: true, 0xa0: true, 0x17: true, 0x57: true}

// conflict returns errConflict unless the reservations let the command through.
func (u *Unit) conflict(r *request) error {
	a := r.row.access
	switch a {
	case accessStart: // SBC-3 table 13
		if a = accessAny; r.CDB[4]&0xf1 != 1 {
			a = accessWrite
		}
	case accessPrevent: // SPC-4 table 66
		if a = accessAny; r.CDB[4]&3 != 0 {
			a = accessWrite
		}
	}
	old := u.old != nil && *u.old != r.Nexus
	allows := oldAllowed[r.CDB[0]] || r.row.access == accessPrevent && a == accessAny
	if old && !allows || u.pr.refuses(r.Nexus, a) {
		return errConflict
	}
	return nil
}
