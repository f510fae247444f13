package pdu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Rule is how the two values of a key become one (RFC 7143 6.2).
type Rule uint8

// The rules.
const (
	Declared Rule = iota // no answer; each side tells its own (6.2, declarative)
	List                 // the first of the offered values that the answerer can do (6.2.1)
	And                  // Yes if both say Yes
	Or                   // Yes if one says Yes
	Least                // the lesser number
	Most                 // the greater number
)

// Key is a row of the table of keys.
type Key struct {
	Name     string
	Section  string // of RFC 7143
	Rule     Rule
	Number   bool
	Min, Max uint64
	Default  string // before anything is said
	FullToo  bool   // may be used in the full feature phase
}

// Keys are the operational keys that we negotiate; those of authentication are in package chap.
var Keys = []Key{
	{Name: "HeaderDigest", Section: "13.1", Rule: List, Default: "None"},
	{Name: "DataDigest", Section: "13.1", Rule: List, Default: "None"},
	{Name: "MaxConnections", Section: "13.2", Rule: Least, Number: true, Min: 1, Max: 65535, Default: "1"},
	{Name: "TargetName", Section: "13.4", Rule: Declared},
	{Name: "InitiatorName", Section: "13.5", Rule: Declared},
	{Name: "TargetAlias", Section: "13.6", Rule: Declared, FullToo: true},
	{Name: "InitiatorAlias", Section: "13.7", Rule: Declared, FullToo: true},
	{Name: "TargetAddress", Section: "13.8", Rule: Declared, FullToo: true},
	{Name: "TargetPortalGroupTag", Section: "13.9", Rule: Declared, Number: true, Max: 65535},
	{Name: "InitialR2T", Section: "13.10", Rule: Or, Default: "Yes"},
	{Name: "ImmediateData", Section: "13.11", Rule: And, Default: "Yes"},
	{Name: "MaxRecvDataSegmentLength", Section: "13.12", Rule: Declared, Number: true, Min: 512, Max: 1<<24 - 1, Default: "8192", FullToo: true},
	{Name: "MaxBurstLength", Section: "13.13", Rule: Least, Number: true, Min: 512, Max: 1<<24 - 1, Default: "262144"},
	{Name: "FirstBurstLength", Section: "13.14", Rule: Least, Number: true, Min: 512, Max: 1<<24 - 1, Default: "65536"},
	{Name: "DefaultTime2Wait", Section: "13.15", Rule: Most, Number: true, Max: 3600, Default: "2"},
	{Name: "DefaultTime2Retain", Section: "13.16", Rule: Least, Number: true, Max: 3600, Default: "20"},
	{Name: "MaxOutstandingR2T", Section: "13.17", Rule: Least, Number: true, Min: 1, Max: 65535, Default: "1"},
	{Name: "DataPDUInOrder", Section: "13.18", Rule: Or, Default: "Yes"},
	{Name: "DataSequenceInOrder", Section: "13.19", Rule: Or, Default: "Yes"},
	{Name: "ErrorRecoveryLevel", Section: "13.20", Rule: Least, Number: true, Max: 2, Default: "0"},
	{Name: "SessionType", Section: "13.21", Rule: Declared, Default: "Normal"},
	{Name: "iSCSIProtocolLevel", Section: "RFC 7144 7.1.1", Rule: Least, Number: true, Max: 31, Default: "1"},
	{Name: "TaskReporting", Section: "13.23", Rule: List, Default: "RFC3720"},
}

// Values that stand for the lack of one (6.2).
const (
	NotUnderstood = "NotUnderstood"
	Irrelevant    = "Irrelevant"
	Reject        = "Reject"
)

var keyIndex = func() map[string]*Key {
	m := map[string]*Key{}
	for i := range Keys {
		m[Keys[i].Name] = &Keys[i]
	}
	return m
}()

// FindKey returns the row of a key, nil if we do not know it.
func FindKey(name string) *Key { return keyIndex[name] }

// Check returns an error unless v is a value that the key may have.
func (k *Key) Check(v string) error {
	switch {
	case k.Number:
		n, err := parseNumber(v)
		if err != nil || n < k.Min || n > k.Max {
			return fmt.Errorf("%w: %s=%.40q, want a number from %d to %d", ErrMalformed, k.Name, v, k.Min, k.Max)
		}
	case k.Rule == And || k.Rule == Or:
		if v != "Yes" && v != "No" {
			return fmt.Errorf("%w: %s=%.40q, want Yes or No", ErrMalformed, k.Name, v)
		}
	case v == "":
		return fmt.Errorf("%w: %s without a value", ErrMalformed, k.Name)
	}
	return nil
}

// parseNumber reads a numerical value, decimal or hexadecimal (6.1).
func parseNumber(s string) (uint64, error) {
	if h, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strconv.ParseUint(h, 16, 64)
	}
	return strconv.ParseUint(s, 10, 64)
}

// Agree returns what an offer and the other side's own value become. Both sides compute it: who answers sends it, and who
// offered gets it. For List ours is a list too, and the order of the offer decides; no common value is Reject.
func (k *Key) Agree(offer, ours string) (string, error) {
	if k.Rule == List {
		can := strings.Split(ours, ",")
		for _, v := range strings.Split(offer, ",") {
			if slices.Contains(can, v) {
				return v, nil
			}
		}
		return Reject, nil
	}
	for _, v := range []string{offer, ours} {
		if err := k.Check(v); err != nil {
			return "", err
		}
	}
	switch k.Rule {
	case And:
		return yesNo(offer == "Yes" && ours == "Yes"), nil
	case Or:
		return yesNo(offer == "Yes" || ours == "Yes"), nil
	case Least, Most:
		a, _ := parseNumber(offer)
		b, _ := parseNumber(ours)
		if (a < b) == (k.Rule == Least) {
			return strconv.FormatUint(a, 10), nil
		}
		return strconv.FormatUint(b, 10), nil
	}
	return offer, nil
}

func yesNo(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}
