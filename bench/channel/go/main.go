// The same shapes as handoff_bench.cpp and latency_bench.cpp, with Go's channels. Prints one line per case:
// name, value. Run by bench/channel/compare.py.
package main

import (
	"fmt"
	"sort"
	"sync"
	"time"
)

const items = 100000

type batch struct{ block *[]byte }

var block = make([]byte, 256*1024)

func handOver[T any](producers, consumers, capacity int, item T) float64 {
	queue := make(chan T, capacity)
	done := make(chan struct{}) // the context of the C++ program: every wait can be cancelled
	begin := time.Now()
	var senders, receivers sync.WaitGroup
	for c := 0; c < consumers; c++ {
		receivers.Add(1)
		go func() {
			defer receivers.Done()
			for {
				select {
				case _, ok := <-queue:
					if !ok {
						return
					}
				case <-done:
					return
				}
			}
		}()
	}
	for p := 0; p < producers; p++ {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for i := 0; i < items/producers; i++ {
				select {
				case queue <- item:
				case <-done:
					return
				}
			}
		}()
	}
	senders.Wait()
	close(queue)
	receivers.Wait()
	return float64(items/producers*producers) / time.Since(begin).Seconds()
}

func median(measure func() float64) float64 {
	var all []float64
	for i := 0; i < 5; i++ {
		all = append(all, measure())
	}
	sort.Float64s(all)
	return all[len(all)/2]
}

func wakeUp() (p50, p99 float64) {
	queue := make(chan time.Time, 8)
	var samples []float64
	finished := make(chan struct{})
	go func() {
		for sent := range queue {
			samples = append(samples, float64(time.Since(sent).Nanoseconds())/1000)
		}
		close(finished)
	}()
	for i := 0; i < 3000; i++ {
		time.Sleep(200 * time.Microsecond)
		queue <- time.Now()
	}
	close(queue)
	<-finished
	sort.Float64s(samples)
	return samples[len(samples)/2], samples[len(samples)*99/100]
}

func main() {
	for _, capacity := range []int{8, 1024} {
		for _, shape := range [][2]int{{1, 1}, {2, 2}, {4, 4}, {16, 1}} {
			name := fmt.Sprintf("%dx%d/%d", shape[0], shape[1], capacity)
			fmt.Printf("int/%s %.0f\n", name, median(func() float64 { return handOver(shape[0], shape[1], capacity, 1) }))
			fmt.Printf("batch/%s %.0f\n", name, median(func() float64 { return handOver(shape[0], shape[1], capacity, batch{&block}) }))
		}
	}
	p50, p99 := wakeUp()
	fmt.Printf("wakeup_p50 %.1f\nwakeup_p99 %.1f\n", p50, p99)
}
