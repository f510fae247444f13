package dlm_test

// stats NODE: the counters a story may rely on.
func (s *story) stats(words []string) error {
	n, err := s.node(words[0])
	if err != nil {
		return err
	}
	st := n.core.Stats()
	s.print("sent %d, local grants %d, remote grants %d, retransmits %d, refused %d, malformed %d, unexpected %d",
		st.MessagesSent(), st.LocalGrants, st.RemoteGrants, st.Retransmits, st.Refused, st.Malformed, st.Unexpected)
	return nil
}
