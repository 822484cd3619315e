package storage

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestFilterErrors has a line for each way in which a filter can be wrong, with what the error must say.
func TestFilterErrors(t *testing.T) {
	path := func(op Op, values ...string) Filter { return Filter{Column: Path, Op: op, Values: values} }
	deep := path(Is, "/")
	for range maxFilterDepth {
		deep = Filter{Op: Not, Of: []Filter{deep}}
	}
	for _, tt := range []struct {
		f    Filter
		want string
	}{
		{path(Is), "filter over event:page without values"},
		{Filter{Column: Kind, Values: []string{"host"}}, "filter over unknown dimension 1"},
		{Filter{Column: 99, Values: []string{"x"}}, "filter over unknown dimension 99"},
		{Filter{Column: Props, Values: []string{"x"}}, "event properties without a key"},
		{Filter{Column: Path, Prop: "plan", Values: []string{"x"}}, `property "plan" of another column`},
		{Filter{Column: Path, Op: ops, Values: []string{"x"}}, "unknown operator 9"},
		{Filter{Column: Path, Values: []string{"x"}, Of: []Filter{path(Is, "/")}}, "has filters inside"},
		{Filter{Op: And}, `"and" joins 0 filters`},
		{Filter{Op: Or}, `"or" joins 0 filters`},
		{Filter{Op: Not}, `"not" joins 0 filters`},
		{Filter{Op: Not, Of: []Filter{path(Is, "/"), path(Is, "/a")}}, `"not" joins 2 filters`},
		{Filter{Op: And, Of: []Filter{path(Is)}}, "without values"},
		{deep, "nested more than 10 levels deep"},
		{Filter{Op: Or, Of: slices.Repeat([]Filter{path(Is, "/")}, maxComparisons+1)}, "more than 200 comparisons"},
		{path(Is, make([]string, maxFilterValues+1)...), "more than 10000 values"},
		{path(Matches, "ok", "/(a"), `filter over event:page, pattern 2, "/(a": missing closing ) at "/(a"`},
		{path(MatchesNot, `\8`), `invalid escape sequence at "\\8"`},
		{path(Matches, strings.Repeat("a", maxPatternBytes+1)), "has 1001 bytes, at most 1000"},
		{path(Matches, "([a-z]bc){700}"), "repeats too much"},
		{path(Matches, make([]string, maxPatternValues+1)...), "has 21 patterns, at most 20"},
		{Filter{Column: Props, Prop: "plan", Op: Matches, Values: []string{"["}}, "filter over event:props:plan, pattern 1"},
	} {
		if err := tt.f.Check(); !errors.Is(err, ErrBadQuery) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80v: %v, want %s", tt.f, err, tt.want)
		}
	}
	for _, good := range []Filter{
		deep.Of[0], path(Matches, "a{1000}"), path(Matches, strings.Repeat("a", maxPatternBytes)),
		path(Is, make([]string, maxFilterValues)...), {Column: Props, Prop: "plan", Values: []string{""}},
	} {
		if err := good.Check(); err != nil {
			t.Errorf("%.80v: %v", good, err)
		}
	}
}

func TestFilterPasses(t *testing.T) {
	for _, tt := range []struct {
		op       Op
		anyCase  bool
		values   []string
		yes, not []string
	}{
		{Is, false, []string{"/a"}, []string{"/a"}, []string{"/A", "/ab", ""}},
		{Is, false, []string{"/a", ""}, []string{"/a", ""}, []string{"/b"}},
		{Is, true, []string{"/Ä"}, []string{"/ä", "/Ä"}, []string{"/a"}},
		{Is, true, []string{"/Ä", "b"}, []string{"/ä", "B"}, []string{"/a"}},
		{Contains, false, []string{"lo", "x"}, []string{"hello", "x", "lo"}, []string{"HELLO", ""}},
		{Contains, true, []string{"LO"}, []string{"hello", "Lo"}, []string{"hel"}},
		{Contains, false, []string{""}, []string{"", "a"}, nil},
		{Matches, false, []string{"^/a.*z$", "q"}, []string{"/az", "q"}, []string{"/aZ", "b/az"}},
		{Matches, true, []string{"^/A|b$"}, []string{"/a", "xB"}, []string{"b/"}},
	} {
		for _, negated := range []bool{false, true} {
			f := Filter{Column: Path, Op: tt.op, Values: tt.values, AnyCase: tt.anyCase}
			if negated {
				f.Op++
			}
			all, err := compileFilters([]Filter{f})
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			for _, value := range tt.yes {
				if all[0].passes(value) == negated {
					t.Errorf("%s %q, any case %t: wrong for %q", f.Op, tt.values, tt.anyCase, value)
				}
			}
			for _, value := range tt.not {
				if all[0].passes(value) != negated {
					t.Errorf("%s %q, any case %t: wrong for %q", f.Op, tt.values, tt.anyCase, value)
				}
			}
		}
	}
}

// TestPinnedPages has a line for each tree that lets one page pass, and for some that do not.
func TestPinnedPages(t *testing.T) {
	a, b, de := is(Path, "/a"), is(Path, "/b"), is(Country, "DE")
	not := func(f Filter) Filter { return Filter{Op: Not, Of: []Filter{f}} }
	and := func(of ...Filter) Filter { return Filter{Op: And, Of: of} }
	or := func(of ...Filter) Filter { return Filter{Op: Or, Of: of} }
	for _, tt := range []struct {
		f      Filter
		pinned bool
	}{
		{a, true}, {and(de, a), true}, {not(not(a)), true}, {not(Filter{Column: Path, Op: IsNot, Values: []string{"/a"}}), true},
		{or(and(a, de), and(a, is(Browser, "Firefox"))), true}, {or(a, a), true}, {not(or(not(a), de)), true},
		{or(and(a, de), and(b, de)), false}, {or(and(a, de), de), false},
		{or(a, b), false}, {or(a, de), false}, {not(a), false}, {is(Path, "/a", "/b"), false}, {not(and(a, de)), false},
		{Filter{Column: Path, Op: Contains, Values: []string{"/a"}}, false}, {Filter{Column: Path, Values: []string{"/a"}, AnyCase: true}, false},
	} {
		all, err := compileFilters([]Filter{tt.f})
		if err != nil {
			t.Fatal(err)
		}
		if value, ok := pinned(all, Path); ok != tt.pinned || ok && value != "/a" {
			t.Errorf("%+v: %q, %t", tt.f, value, ok)
		}
	}
}

// TestColumnsOfOneOrAreLookedAtOnce: the values of a column are compared once for each condition.
func TestColumnsOfOneOrAreLookedAtOnce(t *testing.T) {
	f := Filter{Op: Or, Of: []Filter{is(Path, "/a"), {Op: Or, Of: []Filter{is(Country, "DE"), {Op: Not, Of: []Filter{is(Path, "/b")}}}}}}
	all, err := compileFilters([]Filter{f, {Op: And, Of: []Filter{is(City, "x"), {Op: Not, Of: []Filter{{Op: Or, Of: []Filter{is(City, "y"), is(OS, "z")}}}}}}})
	if err != nil || len(all) != 4 || len(all[0].of) != 2 || !all[0].any || all[3].of != nil {
		t.Errorf("%d conditions, %v", len(all), err)
	}
}
