package storage

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Op compares a column with the values of a Filter, or joins filters.
type Op uint8

const (
	Is          Op = iota // equals one of the values
	IsNot                 // equals none of the values
	Contains              // contains one of the values, letter for letter
	ContainsNot           // contains none of the values
	Matches               // one of the values, a regular expression in RE2's syntax, matches somewhere
	MatchesNot            // none of them matches
	And                   // all filters of Of pass
	Or                    // at least one filter of Of passes
	Not                   // the one filter of Of does not pass

	ops // one more than the last
)

var opNames = [ops]string{
	Is: "is", IsNot: "is_not", Contains: "contains", ContainsNot: "contains_not", Matches: "matches", MatchesNot: "matches_not",
	And: "and", Or: "or", Not: "not",
}

// String returns the operator's name in the Stats API.
func (o Op) String() string {
	if o < ops {
		return opNames[o]
	}
	return fmt.Sprintf("operator %d", uint8(o))
}

// Joins reports whether the operator joins other filters, and does not compare.
func (o Op) Joins() bool { return o >= And }

// ParseOp is the inverse of Op.String.
func ParseOp(name string) (Op, error) {
	if i := slices.Index(opNames[:], name); i >= 0 {
		return Op(i), nil
	}
	return 0, fmt.Errorf("operator %q: unknown; known are is, is_not, contains, contains_not, matches, matches_not, and, or, not", name)
}

// Filter keeps the tuples whose column passes, or joins other filters to a tree. The empty string is the value "none"
// (no campaign, direct).
type Filter struct {
	Column  Column
	Prop    string // key of an event's property; only with the column Props
	Op      Op
	Values  []string
	AnyCase bool     // upper and lower case are the same
	Of      []Filter // of And, Or and Not, which have no column and no values
}

// Limits of the filters of one query. They are far beyond what people write, and keep what one query costs in bounds.
const (
	maxFilterDepth   = 10    // levels of trees: compiling recurses
	maxComparisons   = 200   // each looks at every value of a column
	maxFilterValues  = 10000 // of all comparisons together
	maxPatternBytes  = 1000
	maxPatternSize   = 2000 // instructions of the compiled pattern: matching takes that many steps a letter
	maxPatternValues = 20   // patterns of one comparison: each is tried on each value
)

// Check tells what is wrong with a filter by itself: the error wraps ErrBadQuery.
func (f Filter) Check() error {
	_, err := compileFilters([]Filter{f})
	return err
}

// Uses reports whether a filter compares a column.
func (f Filter) Uses(c Column) bool {
	if f.Op.Joins() {
		return slices.ContainsFunc(f.Of, func(inner Filter) bool { return inner.Uses(c) })
	}
	return f.Column == c
}

// condition is a filter as it is evaluated: "not" is drawn down to the comparisons, and comparisons of one column that
// stand in one "or" are one.
type condition struct {
	text string // conditions of equal texts select the same rows

	column Column
	prop   string
	passes func(value string) bool
	pinned bool // only the value pin passes
	pin    string

	of  []*condition // of a joint; column and what follows is meaningless then
	any bool         // one of them is enough
}

// compileFilters returns the conditions that must all hold.
func compileFilters(filters []Filter) ([]*condition, error) {
	var c filterCompiler
	all, err := c.compileAll(filters, false, 1)
	if err != nil {
		return nil, err
	}
	joined := join(false, all)
	switch {
	case joined == nil:
		return nil, nil
	case joined.of != nil && !joined.any:
		return joined.of, nil
	}
	return []*condition{joined}, nil
}

// filterCompiler counts what the filters of a query ask for.
type filterCompiler struct{ comparisons, values int }

func (c *filterCompiler) compileAll(filters []Filter, negate bool, depth int) ([]*condition, error) {
	all := make([]*condition, len(filters))
	for i := range filters {
		var err error
		if all[i], err = c.compile(&filters[i], negate, depth); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (c *filterCompiler) compile(f *Filter, negate bool, depth int) (*condition, error) {
	if depth > maxFilterDepth {
		return nil, badQuery("filters are nested more than %d levels deep", maxFilterDepth)
	}
	switch {
	case f.Op >= ops:
		return nil, badQuery("filter with an unknown operator %d", f.Op)
	case !f.Op.Joins():
		return c.comparison(f, negate)
	case len(f.Of) == 0 || f.Op == Not && len(f.Of) != 1:
		return nil, badQuery("%q joins %d filters; want one for not, one or more for and and or", f.Op, len(f.Of))
	case f.Op == Not:
		return c.compile(&f.Of[0], !negate, depth+1)
	}
	of, err := c.compileAll(f.Of, negate, depth+1)
	if err != nil {
		return nil, err
	}
	return join((f.Op == Or) != negate, of), nil // not (a and b) is (not a) or (not b)
}

// join joins conditions, and takes joints of the same kind apart. Without any it returns nil.
func join(any bool, of []*condition) *condition {
	var flat []*condition
	for _, c := range of {
		if c.of != nil && c.any == any {
			flat = append(flat, c.of...)
		} else {
			flat = append(flat, c)
		}
	}
	if any {
		flat = mergeColumns(flat)
	}
	if len(flat) <= 1 {
		return first(flat)
	}
	texts := make([]string, len(flat))
	for i, c := range flat {
		texts[i] = c.text
	}
	return &condition{text: fmt.Sprintf("%t(%s)", any, strings.Join(texts, "")), of: flat, any: any}
}

func first(of []*condition) *condition {
	if len(of) == 0 {
		return nil
	}
	return of[0]
}

// mergeColumns makes one comparison of those that look at the same column, of which one has to pass.
func mergeColumns(of []*condition) []*condition {
	var merged []*condition
	for _, c := range of {
		i := slices.IndexFunc(merged, func(m *condition) bool {
			return m.of == nil && c.of == nil && m.column == c.column && m.prop == c.prop
		})
		if i < 0 {
			merged = append(merged, c)
			continue
		}
		m := merged[i]
		merged[i] = &condition{
			text: "or(" + m.text + c.text + ")", column: c.column, prop: c.prop,
			passes: func(value string) bool { return m.passes(value) || c.passes(value) },
			pinned: m.pinned && c.pinned && m.pin == c.pin, pin: c.pin,
		}
	}
	return merged
}

// comparison compiles a filter that compares.
func (c *filterCompiler) comparison(f *Filter, negate bool) (*condition, error) {
	if err := c.count(f); err != nil {
		return nil, err
	}
	matches, err := f.matcher()
	if err != nil {
		return nil, err
	}
	op := f.Op &^ 1 // the one that is not negated
	if f.Op != op {
		negate = !negate
	}
	cond := &condition{
		text:   fmt.Sprintf("%d %q %d %t %t %q\n", f.Column, f.Prop, op, negate, f.AnyCase, f.Values),
		column: f.Column, prop: f.Prop, passes: matches,
		pinned: op == Is && !negate && !f.AnyCase && len(f.Values) == 1, pin: f.Values[0],
	}
	if negate {
		cond.passes = func(value string) bool { return !matches(value) }
	}
	return cond, nil
}

// count checks a comparison's column and adds it to what the query asks for.
func (c *filterCompiler) count(f *Filter) error {
	if err := checkColumn(f.Column, f.Prop); err != nil {
		return badQuery("filter over %w", err)
	}
	c.comparisons++
	c.values += len(f.Values)
	switch {
	case len(f.Of) > 0:
		return badQuery("filter over %s has filters inside; only and, or and not have", DimensionName(f.Column, f.Prop))
	case len(f.Values) == 0:
		return badQuery("filter over %s without values", DimensionName(f.Column, f.Prop))
	case c.comparisons > maxComparisons:
		return badQuery("more than %d comparisons", maxComparisons)
	case c.values > maxFilterValues:
		return badQuery("more than %d values in filters", maxFilterValues)
	}
	return nil
}

// matcher returns what decides whether one of the filter's values fits, before any negation.
func (f *Filter) matcher() (func(value string) bool, error) {
	if f.Op == Matches || f.Op == MatchesNot {
		return f.patterns()
	}
	values, fold := f.Values, func(s string) string { return s }
	if f.AnyCase {
		fold = strings.ToLower
		values = make([]string, len(f.Values))
		for i, v := range f.Values {
			values[i] = strings.ToLower(v)
		}
	}
	if f.Op == Contains || f.Op == ContainsNot {
		return func(value string) bool {
			value = fold(value)
			return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(value, v) })
		}, nil
	}
	if len(values) == 1 {
		only := values[0]
		return func(value string) bool { return fold(value) == only }, nil
	}
	set := make(map[string]bool, len(values))
	for _, v := range values {
		set[v] = true
	}
	return func(value string) bool { return set[fold(value)] }, nil
}

// patterns compiles the values as regular expressions.
func (f *Filter) patterns() (func(value string) bool, error) {
	if len(f.Values) > maxPatternValues {
		return nil, badQuery("filter over %s has %d patterns, at most %d", DimensionName(f.Column, f.Prop), len(f.Values), maxPatternValues)
	}
	list := make([]*regexp.Regexp, len(f.Values))
	for i, pattern := range f.Values {
		var err error
		if list[i], err = compilePattern(pattern, f.AnyCase); err != nil {
			return nil, badQuery("filter over %s, pattern %d, %.100q: %w", DimensionName(f.Column, f.Prop), i+1, pattern, err)
		}
	}
	return func(value string) bool {
		return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(value) })
	}, nil
}

// compilePattern compiles a pattern in RE2's syntax. Counted repetitions can make a huge program of a short text,
// so its size is told from its tree before it is compiled.
func compilePattern(pattern string, anyCase bool) (*regexp.Regexp, error) {
	if len(pattern) > maxPatternBytes {
		return nil, fmt.Errorf("has %d bytes, at most %d", len(pattern), maxPatternBytes)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		if wrong := new(syntax.Error); errors.As(err, &wrong) {
			return nil, fmt.Errorf("%s at %q", wrong.Code, wrong.Expr)
		}
		return nil, err
	}
	if patternSize(tree) > maxPatternSize {
		return nil, fmt.Errorf("repeats too much; write it with fewer or smaller counts in braces")
	}
	if anyCase {
		pattern = "(?i:" + pattern + ")"
	}
	return regexp.Compile(pattern)
}

// patternSize estimates the instructions of a pattern's program. It stops counting once there are too many.
func patternSize(re *syntax.Regexp) int {
	size := 1
	if re.Op == syntax.OpLiteral {
		size = len(re.Rune)
	}
	for _, sub := range re.Sub {
		if size += patternSize(sub); size > maxPatternSize {
			return size
		}
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return size
}

// uses reports whether a condition compares a column.
func (c *condition) uses(column Column) bool {
	if c.of != nil {
		return slices.ContainsFunc(c.of, func(inner *condition) bool { return inner.uses(column) })
	}
	return c.column == column
}

// onlyUses reports whether a condition compares that column and no other.
func (c *condition) onlyUses(passes func(Column) bool) bool {
	if c.of != nil {
		return !slices.ContainsFunc(c.of, func(inner *condition) bool { return !inner.onlyUses(passes) })
	}
	return passes(c.column)
}

// pins returns the only value of a column that a condition lets pass, if there is one.
func (c *condition) pins(column Column) (value string, ok bool) {
	if c.of == nil {
		return c.pin, c.pinned && c.column == column
	}
	for i, inner := range c.of {
		v, pinned := inner.pins(column)
		switch {
		case !c.any && pinned:
			return v, true
		case c.any && (!pinned || i > 0 && v != value):
			return "", false
		}
		value, ok = v, pinned
	}
	return value, ok
}

// pinned returns the only value of a column that passes all conditions, if there is one.
func pinned(all []*condition, column Column) (value string, ok bool) {
	for _, c := range all {
		if value, ok = c.pins(column); ok {
			return value, true
		}
	}
	return "", false
}
