package tracker

import (
	"strings"

	"dachs/tracker/bot"
)

// IsBot tells whether a user agent is that of a program rather than of a person's browser. An empty one is.
// It goes by what programs say of themselves: one that poses as a browser is taken for one.
func IsBot(userAgent string) bool {
	return !isCommonBrowser(userAgent) && bot.Is(userAgent)
}

// isCommonBrowser tells whether a user agent consists of nothing but the words and numbers of the browsers that most
// people use. It spares them the search for some two hundred names of programs, which would cost more than all
// the rest of a hit; who is not in here has not lost anything.
func isCommonBrowser(userAgent string) bool {
	rest, found := strings.CutPrefix(userAgent, "Mozilla/5.0 (")
	browser := false
	for found && rest != "" {
		end := strings.IndexAny(rest, " ();,/:")
		if end < 0 {
			end = len(rest)
		}
		word := rest[:end]
		rest = rest[min(end+1, len(rest)):]
		if word == "" || isDigit(word[0]) {
			continue
		}
		switch word {
		case "Safari", "Firefox":
			browser = true
		case "Windows", "NT", "Win64", "WOW64", "x64", "rv", "Macintosh", "Intel", "Mac", "OS", "X", "X11", "Ubuntu", "Linux", "x86_64", "CrOS",
			"Android", "K", "iPhone", "iPad", "CPU", "like", "Mobile", "Tablet", "AppleWebKit", "KHTML", "Gecko", "Version", "Chrome",
			"Edg", "EdgA", "EdgiOS", "OPR", "CriOS", "FxiOS", "SamsungBrowser", "GSA":
		default:
			return false
		}
	}
	return browser
}

// isAhead tells whether a request's purpose headers say that the page was fetched ahead of time, and so has been
// seen by nobody. Values: https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Purpose
func isAhead(purpose string) bool {
	if purpose == "" {
		return false
	}
	purpose = strings.ToLower(purpose)
	return strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "prerender") || strings.Contains(purpose, "preview")
}
