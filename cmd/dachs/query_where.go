package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"dachs/storage"
)

// comparison makes a filter of the Stats API. /i after the operator ignores upper and lower case.
func comparison(op, dimension string, values []string) ([]any, error) {
	name, anyCase := strings.CutSuffix(op, "/i")
	if known, err := storage.ParseOp(name); err != nil || known.Joins() {
		return nil, fmt.Errorf("operator %q: unknown; known are is, is_not, contains, contains_not, matches, matches_not, each with /i for any case", op)
	}
	filter := []any{name, dimension, values}
	if anyCase {
		filter = append(filter, map[string]bool{"case_sensitive": false})
	}
	return filter, nil
}

// whereParser reads the words of an expression, one after the other.
type whereParser struct{ words []whereWord }

// whereWord is a word, a comma or a parenthesis. What is quoted has no special meaning.
type whereWord struct {
	text   string
	quoted bool
}

// parseWhere turns an expression into a filter of the Stats API:
//
//	expression  all { "or" all }
//	all         one { "and" one }
//	one         "not" one | "(" expression ")" | DIMENSION OPERATOR VALUE { "," VALUE }
func parseWhere(s string) ([]any, error) {
	words, err := splitWhere(s)
	if err != nil {
		return nil, err
	}
	p := &whereParser{words}
	filter, err := p.joint("or", func() ([]any, error) { return p.joint("and", p.one) })
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%q stands after the end; join comparisons with and, or", p.words[0].text)
	}
	return filter, err
}

// joint reads parts that a word joins. One part alone is itself.
func (p *whereParser) joint(word string, part func() ([]any, error)) ([]any, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	parts := []any{first}
	for p.take(word) {
		next, err := part()
		if err != nil {
			return nil, err
		}
		parts = append(parts, next)
	}
	if len(parts) == 1 {
		return first, nil
	}
	return []any{word, parts}, nil
}

func (p *whereParser) one() ([]any, error) {
	switch {
	case p.take("not"):
		inner, err := p.one()
		return []any{"not", inner}, err
	case p.take("("):
		inner, err := p.joint("or", func() ([]any, error) { return p.joint("and", p.one) })
		if err == nil && !p.take(")") {
			err = errors.New("a parenthesis is not closed")
		}
		return inner, err
	}
	var dimension, op string
	for _, word := range []*string{&dimension, &op} {
		text, err := p.word()
		if err != nil {
			return nil, err
		}
		*word = text
	}
	var values []string
	for len(values) == 0 || p.take(",") {
		value, err := p.word()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return comparison(op, dimension, values)
}

// take takes the next word if it is that one and not quoted.
func (p *whereParser) take(word string) bool {
	if len(p.words) == 0 || p.words[0] != (whereWord{text: word}) {
		return false
	}
	p.words = p.words[1:]
	return true
}

// word takes a word that stands for itself.
func (p *whereParser) word() (string, error) {
	const want = `want DIMENSION OPERATOR VALUE, such as visit:country is DE,AT`
	if len(p.words) == 0 {
		return "", errors.New("ends too early; " + want)
	}
	w := p.words[0]
	if !w.quoted && (strings.Contains("(),", w.text) || w.text == "and" || w.text == "or" || w.text == "not") {
		return "", fmt.Errorf("%q stands where a word should; %s", w.text, want)
	}
	p.words = p.words[1:]
	return w.text, nil
}

// splitWhere cuts an expression into words.
func splitWhere(s string) (words []whereWord, err error) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		switch {
		case strings.ContainsAny(s[:1], "(),"):
			words = append(words, whereWord{text: s[:1]})
			s = s[1:]
		case s[0] == '"':
			var text string
			if text, s, err = cutQuotedWord(s[1:]); err != nil {
				return nil, err
			}
			words = append(words, whereWord{text, true})
		default:
			end := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`(),"`, r) })
			if end < 0 {
				end = len(s)
			}
			words = append(words, whereWord{text: s[:end]})
			s = s[end:]
		}
	}
	return words, nil
}

// cutQuotedWord reads up to the closing quote. A backslash keeps what is after it: a quote or a backslash.
func cutQuotedWord(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("a quote is not closed")
}
