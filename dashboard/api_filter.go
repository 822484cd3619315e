package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"

	"dachs/storage"
)

const (
	// directName is shown for a visit without a source or referrer, noneName for a property that an event does not have, and
	// notSetName for every other value that is empty, all as Plausible writes them. The store keeps the empty string.
	directName = "Direct / None"
	noneName   = "(none)"
	notSetName = "(not set)"
)

// maxFilterDepth bounds how deep filters may stand in filters: each level reads its text again. The store takes no deeper
// ones.
const maxFilterDepth = 10

// emptyName is what the empty value of a column is called in answers and in filters.
func emptyName(c storage.Column) string {
	switch c {
	case storage.Source, storage.Referrer:
		return directName
	case storage.Props:
		return noneName
	}
	return notSetName
}

// shownValue names a stored value.
func shownValue(c storage.Column, value string) string {
	if value == "" {
		return emptyName(c)
	}
	return value
}

// storedValue is the inverse of shownValue.
func storedValue(c storage.Column, value string) string {
	if value == emptyName(c) {
		return ""
	}
	return value
}

// apiFilter is one filter of a request, with its values as they were sent.
type apiFilter struct {
	op      storage.Op
	column  storage.Column
	prop    string
	values  []string
	anyCase bool
	of      []apiFilter // of and, or and not
}

// MarshalJSON writes the filter as requests have it.
func (f apiFilter) MarshalJSON() ([]byte, error) {
	switch {
	case f.op == storage.Not:
		return json.Marshal([]any{f.op.String(), f.of[0]})
	case f.op.Joins():
		return json.Marshal([]any{f.op.String(), f.of})
	}
	parts := []any{f.op.String(), storage.DimensionName(f.column, f.prop), f.values}
	if f.anyCase {
		parts = append(parts, map[string]bool{"case_sensitive": false})
	}
	return json.Marshal(parts)
}

// stored returns the filter in the values of the store. Comparisons with parts of a value look at its letters, so
// the names of the empty value mean nothing special to them.
func (f apiFilter) stored() storage.Filter {
	if f.op.Joins() {
		joint := storage.Filter{Op: f.op}
		for _, inner := range f.of {
			joint.Of = append(joint.Of, inner.stored())
		}
		return joint
	}
	values := make([]string, len(f.values))
	for i, v := range f.values {
		if f.op == storage.Is || f.op == storage.IsNot {
			v = storedValue(f.column, v)
		}
		values[i] = v
	}
	return storage.Filter{Column: f.column, Prop: f.prop, Op: f.op, Values: values, AnyCase: f.anyCase}
}

// parseAPIFilters reads a list of filters.
func parseAPIFilters(list []json.RawMessage, depth int) ([]apiFilter, error) {
	filters := make([]apiFilter, len(list))
	for i, raw := range list {
		var err error
		if filters[i], err = parseAPIFilter(raw, depth); err != nil {
			return nil, err
		}
	}
	return filters, nil
}

func parseAPIFilter(raw json.RawMessage, depth int) (apiFilter, error) {
	var parts []json.RawMessage
	var name string
	if json.Unmarshal(raw, &parts) != nil || len(parts) == 0 || json.Unmarshal(parts[0], &name) != nil {
		return apiFilter{}, errors.New(`filters: want a list of filters such as ["is", "visit:country", ["DE", "AT"]]`)
	}
	op, err := storage.ParseOp(name)
	if err != nil {
		return apiFilter{}, fmt.Errorf("filters: %w", err)
	}
	if op.Joins() {
		return parseAPIJoint(op, parts, depth)
	}
	return parseAPIComparison(op, parts)
}

// parseAPIJoint reads what and, or and not join: a list of filters, or for not one filter.
func parseAPIJoint(op storage.Op, parts []json.RawMessage, depth int) (f apiFilter, err error) {
	if depth == maxFilterDepth {
		return f, fmt.Errorf("filters: nested more than %d levels deep; write them side by side", maxFilterDepth)
	}
	var inner []json.RawMessage
	switch {
	case op == storage.Not && len(parts) == 2:
		inner = parts[1:]
	case op == storage.Not:
		return f, errors.New(`filters: "not" wants one filter, such as ["not", ["is", "visit:country", ["DE"]]]`)
	case len(parts) != 2 || json.Unmarshal(parts[1], &inner) != nil || len(inner) == 0:
		return f, fmt.Errorf(`filters: %q wants one list of filters, such as [%[1]q, [["is", "visit:country", ["DE"]]]]`, op)
	}
	f.op = op
	f.of, err = parseAPIFilters(inner, depth+1)
	return f, err
}

func parseAPIComparison(op storage.Op, parts []json.RawMessage) (apiFilter, error) {
	f := apiFilter{op: op}
	if len(parts) != 3 && len(parts) != 4 {
		return f, fmt.Errorf(`filters: %q has %d parts; want an operator, a dimension and a list of values`, op, len(parts))
	}
	var name string
	if json.Unmarshal(parts[1], &name) != nil {
		return f, fmt.Errorf("filters: dimension %s: want a string such as \"visit:country\"", parts[1])
	}
	if _, _, isTime := timeInterval(name); isTime {
		return f, fmt.Errorf("filters: %s cannot be filtered; set date_range instead", name)
	}
	var err error
	if f.column, f.prop, err = parseDimension(name); err != nil {
		return f, fmt.Errorf("filters: %w", err)
	}
	if json.Unmarshal(parts[2], &f.values) != nil || len(f.values) == 0 {
		return f, fmt.Errorf(`filters: values of %s: want a list of one or more strings, such as ["DE", "AT"]`, name)
	}
	if len(parts) == 4 {
		f.anyCase, err = parseAPIModifiers(parts[3])
	}
	return f, err
}

// parseAPIModifiers reads the one modifier that there is.
func parseAPIModifiers(raw json.RawMessage) (anyCase bool, err error) {
	m := map[string]bool{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return false, errors.New(`filters: modifiers: want an object such as {"case_sensitive": false}`)
	}
	for name, on := range m {
		if name != "case_sensitive" {
			return false, fmt.Errorf("filters: modifier %q: unknown; known is case_sensitive", name)
		}
		anyCase = !on
	}
	return anyCase, nil
}
