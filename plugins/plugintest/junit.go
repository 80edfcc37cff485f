package plugintest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure"`
	Skipped *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes results as a suite of JUnit's, as servers that run tests read them.
func WriteJUnit(w io.Writer, suite string, results []Result) error {
	s := junitSuite{Name: suite, Tests: len(results)}
	total := 0.0
	for _, r := range results {
		c := junitCase{Class: suite, Name: r.Check, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
		total += r.Took.Seconds()
		switch r.Status {
		case Failed:
			s.Failures++
			c.Failure = &junitMessage{Message: r.Detail, Text: r.Detail + "\n" + r.Hint}
		case Skipped:
			s.Skipped++
			c.Skipped = &junitMessage{Message: r.Detail}
		}
		s.Cases = append(s.Cases, c)
	}
	s.Time = fmt.Sprintf("%.3f", total)
	text, err := xml.MarshalIndent(s, "", "  ")
	if err == nil {
		_, err = io.Copy(w, strings.NewReader(xml.Header+string(text)+"\n"))
	}
	return err
}
