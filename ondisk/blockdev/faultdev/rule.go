package faultdev

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// BlockSize is the unit of "block N" in rules, in bytes.
const BlockSize = 4096

// Op is the kind of an operation.
type Op string

// The kinds of operations.
const (
	Read    Op = "read"
	Write   Op = "write"
	Flush   Op = "flush"
	Discard Op = "discard"
	Compare Op = "caw"
	Any     Op = "any" // in rules only
)

// Action is what a rule does to an operation.
type Action string

// The actions; see the package comment.
const (
	Error     Action = "error"
	LateError Action = "late-error"
	Fenced    Action = "fenced"
	Corrupt   Action = "corrupt"
	Torn      Action = "torn"
	Lost      Action = "lost"
	Hang      Action = "hang"
	Hold      Action = "hold"
	Delay     Action = "delay" // for Rule.For
	Late      Action = "late"  // by Rule.For
)

// Rule is one line of the language. The zero values of its conditions mean that there is none.
type Rule struct {
	Op       Op
	Nth      int64 // strikes the Nth matching operation
	After    int64 // strikes matching operations after this many; only if HasAfter
	HasAfter bool
	From, To int64 // bytes touched, To exclusive; no condition if To is 0
	Action   Action
	For      time.Duration // of Delay and Late
	Once     bool
	Sticky   bool
}

// String returns the rule as Parse reads it, with a block written as its bytes.
func (r Rule) String() string {
	s := string(r.Op)
	if r.Nth != 0 {
		s += fmt.Sprintf(" #%d", r.Nth)
	}
	if r.HasAfter {
		s += fmt.Sprintf(" >%d", r.After)
	}
	if r.To != 0 {
		s += fmt.Sprintf(" %d..%d", r.From, r.To)
	}
	s += " " + string(r.Action)
	if r.Action == Delay || r.Action == Late {
		s += " " + r.For.String()
	}
	if r.Once {
		s += " once"
	}
	if r.Sticky {
		s += " sticky"
	}
	return s
}

// Rules are several rules.
type Rules []Rule

// String returns the rules one a line.
func (rs Rules) String() string {
	lines := make([]string, len(rs))
	for i, r := range rs {
		lines[i] = r.String()
	}
	return strings.Join(lines, "\n")
}

// Parse reads rules.
func Parse(text string) (Rules, error) {
	var rs Rules
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "//")
		for part := range strings.SplitSeq(line, ";") {
			words := strings.Fields(part)
			if len(words) == 0 {
				continue
			}
			r, err := parseRule(words)
			if err != nil {
				return nil, fmt.Errorf("line %d, rule %q: %w", n+1, strings.TrimSpace(part), err)
			}
			rs = append(rs, r)
		}
	}
	return rs, nil
}

// Must is Parse for rules that are constants of a test; it panics if they are wrong.
func Must(text string) Rules {
	rs, err := Parse(text)
	if err != nil {
		panic("faultdev: " + err.Error())
	}
	return rs
}

func parseRule(words []string) (Rule, error) {
	r := Rule{Op: Op(words[0])}
	switch r.Op {
	case Read, Write, Flush, Discard, Compare, Any:
	default:
		return r, fmt.Errorf("no operation %q", words[0])
	}
	words, err := r.parseConditions(words[1:])
	if err != nil {
		return r, err
	}
	if words, err = r.parseAction(words); err != nil {
		return r, err
	}
	for _, w := range words {
		switch {
		case w == "once" && !r.Once && !r.Sticky:
			r.Once = true
		case w == "sticky" && !r.Once && !r.Sticky:
			r.Sticky = true
		default:
			return r, fmt.Errorf("unexpected %q", w)
		}
	}
	return r, nil
}

// parseConditions reads "#N", ">N", "A..B" and "block N" and returns the words behind them.
func (r *Rule) parseConditions(words []string) ([]string, error) {
	var err error
	for len(words) > 0 && err == nil {
		w := words[0]
		counted, ranged := r.Nth != 0 || r.HasAfter, r.To != 0
		from, to, isRange := strings.Cut(w, "..")
		switch {
		case w[0] == '#' && !counted && !ranged:
			r.Nth, err = number(w[1:], 1, math.MaxInt64)
		case w[0] == '>' && !counted && !ranged:
			r.HasAfter = true
			r.After, err = number(w[1:], 0, math.MaxInt64)
		case w == "block" && !ranged && len(words) > 1:
			words = words[1:]
			r.From, err = number(words[0], 0, math.MaxInt64/BlockSize-1)
			r.From *= BlockSize
			r.To = r.From + BlockSize
		case isRange && !ranged:
			if r.From, err = number(from, 0, math.MaxInt64); err == nil {
				r.To, err = number(to, r.From, math.MaxInt64)
			}
			if err == nil && r.To == r.From {
				err = fmt.Errorf("empty range %q", w)
			}
		default:
			return words, nil
		}
		words = words[1:]
	}
	return words, err
}

// parseAction reads the action and its time, and returns the words behind them.
func (r *Rule) parseAction(words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, fmt.Errorf("no action")
	}
	r.Action = Action(words[0])
	words = words[1:]
	switch r.Action {
	case Error, LateError, Fenced, Corrupt, Torn, Lost, Hang, Hold:
		return words, nil
	case Delay, Late:
	default:
		return nil, fmt.Errorf("no action %q", string(r.Action))
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("%s wants a time, such as 500ms", r.Action)
	}
	var err error
	if r.For, err = time.ParseDuration(words[0]); err != nil || r.For < 0 {
		return nil, fmt.Errorf("%s: no time: %q", r.Action, words[0])
	}
	return words[1:], nil
}

func number(s string, low, high int64) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("no number: %q", s)
	}
	if int64(n) < low || int64(n) > high {
		return 0, fmt.Errorf("%d is not between %d and %d", n, low, high)
	}
	return int64(n), nil
}
