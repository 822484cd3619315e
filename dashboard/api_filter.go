package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"

	"dachs/storage"
)

const (
	// directName is shown for a visit without a source or referrer, and notSetName for every other value
	// that is empty, both as Plausible writes them. The store keeps the empty string.
	directName = "Direct / None"
	notSetName = "(not set)"
)

// maxFilterDepth bounds how deep "and" may stand in "and": each level reads its text again.
const maxFilterDepth = 4

// emptyName is what the empty value of a column is called in answers and in filters.
func emptyName(c storage.Column) string {
	if c == storage.Source || c == storage.Referrer {
		return directName
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

// apiOps are the comparisons that the store can do.
var apiOps = [...]string{storage.Is: "is", storage.IsNot: "is_not", storage.Contains: "contains"}

// apiFilter is one comparison of a request, with its values as they were sent.
type apiFilter struct {
	op     storage.Op
	column storage.Column
	values []string
}

// MarshalJSON writes the filter as requests have it.
func (f apiFilter) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{apiOps[f.op], f.column.String(), f.values})
}

// stored returns the filter in the values of the store. "contains" compares with letters and not with
// whole values, so the names of the empty value mean nothing special to it.
func (f apiFilter) stored() storage.Filter {
	values := make([]string, len(f.values))
	for i, v := range f.values {
		if f.op != storage.Contains {
			v = storedValue(f.column, v)
		}
		values[i] = v
	}
	return storage.Filter{Column: f.column, Op: f.op, Values: values}
}

// parseAPIFilters reads a list of filters that must all hold. "and" adds nothing to that but a level of
// brackets, so it is taken apart; every other combination is refused rather than answered wrongly.
func parseAPIFilters(list []json.RawMessage, depth int) ([]apiFilter, error) {
	var filters []apiFilter
	for _, raw := range list {
		var parts []json.RawMessage
		var op string
		if json.Unmarshal(raw, &parts) != nil || len(parts) == 0 || json.Unmarshal(parts[0], &op) != nil {
			return nil, errors.New(`filters: want a list of filters such as ["is", "visit:country", ["DE", "AT"]]`)
		}
		if op == "and" {
			inner, err := parseAPIAnd(parts, depth)
			if err != nil {
				return nil, err
			}
			filters = append(filters, inner...)
			continue
		}
		f, err := parseAPIFilter(op, parts)
		if err != nil {
			return nil, err
		}
		filters = append(filters, f)
	}
	return filters, nil
}

func parseAPIAnd(parts []json.RawMessage, depth int) ([]apiFilter, error) {
	var inner []json.RawMessage
	if len(parts) != 2 || json.Unmarshal(parts[1], &inner) != nil || len(inner) == 0 {
		return nil, errors.New(`filters: "and" wants one list of filters, such as ["and", [["is", "visit:country", ["DE"]]]]`)
	}
	if depth == maxFilterDepth {
		return nil, errors.New(`filters: "and" stands too deep in other "and"; write its filters side by side`)
	}
	return parseAPIFilters(inner, depth+1)
}

func parseAPIFilter(op string, parts []json.RawMessage) (apiFilter, error) {
	var f apiFilter
	var err error
	if f.op, err = parseAPIOp(op); err != nil {
		return f, err
	}
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
	if f.column, err = parseDimension(name); err != nil {
		return f, fmt.Errorf("filters: %w", err)
	}
	if json.Unmarshal(parts[2], &f.values) != nil || len(f.values) == 0 {
		return f, fmt.Errorf(`filters: values of %s: want a list of one or more strings, such as ["DE", "AT"]`, name)
	}
	if len(parts) == 4 {
		return f, parseAPIModifiers(parts[3])
	}
	return f, nil
}

func parseAPIOp(name string) (storage.Op, error) {
	for op, n := range apiOps {
		if n == name {
			return storage.Op(op), nil
		}
	}
	return 0, fmt.Errorf("filters: operator %q: not supported; use is, is_not, contains, and", name)
}

// parseAPIModifiers takes the one modifier that there is, in the only way that the store compares.
func parseAPIModifiers(raw json.RawMessage) error {
	m := map[string]bool{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return errors.New(`filters: modifiers: want an object such as {"case_sensitive": true}`)
	}
	for name, on := range m {
		if name != "case_sensitive" || !on {
			return fmt.Errorf("filters: modifier %s: %t is not supported; letters are compared with their case", name, on)
		}
	}
	return nil
}
